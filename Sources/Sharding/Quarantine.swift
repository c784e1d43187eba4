import Foundation
import Model
import Storage
import Synchronization

/// Keeps a shard that kills whoever opens or seals it from killing one process after the other.
///
/// A file in a folder of the node's own says what a thread is at, from before the work until after it: the process that finds one at its start
/// knows that the one before died of it, or beside it: few, as a node opens one segment at a time, and builds one. What was under way in three deaths
/// without a success between is refused for an hour after each further one. An error is no death.
final class Quarantine: Sendable {
    enum Work { case open, seal }
    private struct Deaths {
        var count: Int
        /// Of the last, in seconds since 1970.
        var at: Int64
    }
    /// Deaths in a row after which work is refused. Reason: one is anything, two may be chance.
    private static let patience = 3
    /// Seconds without another attempt.
    private static let length: Int64 = 3_600
    /// Seconds after which nobody remembers a shard that nobody opens.
    private static let memory: Int64 = 30 * 86_400

    private let folder: String?
    private let files = PosixFileSystem()
    private let now: @Sendable () -> Int64
    private let deaths: Mutex<[String: Deaths]>

    /// - Parameter folder: Made when it is needed; `nil`: nobody keeps count.
    init(folder: String?, now: @escaping @Sendable () -> Int64) {
        self.folder = folder
        self.now = now
        var deaths: [String: Deaths] = [:]
        for name in folder.flatMap({ try? FileManager.default.contentsOfDirectory(atPath: $0) }) ?? [] {
            let path = "\(folder!)/\(name)"
            let words = (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: " ") ?? []
            guard words.count == 3, let count = Int(words[0]), let at = Int64(words[1]), name.contains("+") else { continue }
            let wasAtIt = words[2] == "running"
            if !wasAtIt, at + Self.memory < now() {
                try? files.remove(path)
                continue
            }
            deaths[name] = Deaths(count: wasAtIt ? count + 1 : count, at: wasAtIt ? now() : at)
        }
        self.deaths = Mutex(deaths)
        for (name, found) in deaths { note(found, isRunning: false, name) }
    }

    /// Tenants' names have no plus sign.
    private func name(_ work: Work, _ shard: ShardID) -> String { "\(work)+\(shard.tenant)+\(shard.incarnation)+\(shard.index)" }

    /// What processes before this one died at, for the log: the file that says so, and how often.
    var suspects: [(file: String, deaths: Int)] { deaths.withLock { $0.map { ("\(folder ?? "")/\($0.key)", $0.value.count) } }.sorted { $0.0 < $1.0 } }

    /// - Throws: `unavailable` if the work is refused: another node may get by.
    func check(_ work: Work, _ shard: ShardID) throws(ClusterError) {
        let name = name(work, shard)
        guard let found = deaths.withLock({ $0[name] }), found.count >= Self.patience, now() < found.at + Self.length else { return }
        throw ClusterError(
            .unavailable,
            "shard \(shard) is in quarantine: \(found.count) processes in a row died as they were to \(work) it; tried again in \(found.at + Self.length - now()) s, or after a restart without the file that the node's log names")
    }

    /// Does a part of the work during which the process may die.
    func run<Value, Failure: Error>(_ work: Work, _ shard: ShardID, _ body: () throws(Failure) -> Value) throws(Failure) -> Value {
        guard folder != nil else { return try body() }
        let name = name(work, shard)
        let found = deaths.withLock { $0[name] }
        note(found ?? Deaths(count: 0, at: 0), isRunning: true, name)
        defer { if let found { note(found, isRunning: false, name) } else { remove(name) } }
        return try body()
    }

    /// All of the work is done.
    func acquit(_ work: Work, _ shard: ShardID) {
        let name = name(work, shard)
        if deaths.withLock({ $0.removeValue(forKey: name) }) != nil { remove(name) }
    }

    /// What cannot be written down is not counted: a full disk stops no shard.
    private func note(_ found: Deaths, isRunning: Bool, _ name: String) {
        guard let folder else { return }
        let (path, line) = ("\(folder)/\(name)", Array("\(found.count) \(found.at) \(isRunning ? "running" : "waiting")".utf8))
        // There already, or the first in its folder.
        if (try? files.write(line, to: path)) == nil {
            try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try? files.remove(path)
            try? files.write(line, to: path)
        }
    }

    private func remove(_ name: String) {
        if let folder { try? files.remove("\(folder)/\(name)") }
    }
}
