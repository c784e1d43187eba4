import Foundation
import Model
import Synchronization

/// One line of JSON for each administrative or data-deleting call, apart from the log.
///
/// The file is opened for each line, so it may be moved away at any time; lines are appended whole.
package final class AuditLog: Sendable {
    /// What was done, by whom, to what, and how it ended. `nil` and empty fields are left out.
    package struct Entry: Sendable {
        /// `collection.drop`, `keys.change`, …
        package var event: String
        package var tenant: String?
        /// The key's name, never the key.
        package var key: String?
        package var role: String?
        package var request: String?
        /// The other end of the connection.
        package var address: String?
        /// What the caller's proxies, or the caller, say of whom they speak for; nobody vouches for it.
        package var forwardedFor: String?
        package var route: String?
        package var object: [String: JSONValue] = [:]
        package var status: Int?
        /// `done`, `denied` (this key or tenant may not), `refused` (the call was wrong), `failed` (it may have been done in part).
        package var outcome: String
        package var error: String?

        package init(_ event: String, outcome: String = "done") {
            self.event = event
            self.outcome = outcome
        }
    }

    private let path: String
    private let node: String
    private let turn = Mutex(())

    /// - Parameter path: A file, made if it is not there, readable by its owner only; `-` for standard error.
    /// - Throws: If nothing can be written there.
    package init(path: String, node: String) throws {
        self.path = path
        self.node = node
        try write([])
    }

    /// - Throws: If the line could not be written.
    package func record(_ entry: Entry, at time: Date = Date()) throws {
        var line = Array("{\"time\":\"\(time.formatted(.iso8601.year().month().day().time(includingFractionalSeconds: true)))Z\"".utf8)
        func add(_ name: String, _ value: JSONValue?) {
            guard let value else { return }
            line.append(contentsOf: ",\"\(name)\":".utf8)
            value.write(to: &line)
        }
        add("event", .string(entry.event))
        for (name, text) in [
            ("tenant", entry.tenant), ("key", entry.key), ("role", entry.role), ("request", entry.request), ("address", entry.address),
            ("forwarded_for", entry.forwardedFor), ("node", node), ("route", entry.route),
        ] { add(name, text.map(JSONValue.string)) }
        if !entry.object.isEmpty { add("object", .object(entry.object)) }
        add("status", entry.status.map { .integer(Int64($0)) })
        add("outcome", .string(entry.outcome))
        add("error", entry.error.map { .string(String($0.prefix(500))) })
        line.append(contentsOf: "}\n".utf8)
        try write(line)
    }

    private func write(_ line: [UInt8]) throws {
        if path == "-" {
            if !line.isEmpty { try FileHandle.standardError.write(contentsOf: Data(line)) }
            return
        }
        try turn.withLock { _ in
            let file = unsafe open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o600)
            guard file >= 0 else { throw CocoaError(.fileWriteNoPermission, userInfo: [NSFilePathErrorKey: path, "errno": errno]) }
            let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
            if !line.isEmpty { try handle.write(contentsOf: Data(line)) }
            try handle.close()
        }
    }
}
