import Foundation
import Synchronization

/// A certificate with its key and the authority that peers are held to, read from files and read again when they change.
///
/// Connections that stand keep what they began with; new ones take what is current. Thread-safe.
package final class TLSIdentity: Sendable {
    package enum Role: Sendable { case client, server }

    /// As they were at first: see ``accept(_:)``.
    package let settings: TLSSettings
    private struct Files: Equatable {
        let certificate: [UInt8]
        let key: [UInt8]
        let authority: [UInt8]?
    }
    private struct Current {
        var files: Files
        var names: Set<String>
        var server: TLSContext
        var client: TLSContext
    }
    private let current: Mutex<Current>

    /// - Throws: what ``reload()`` throws.
    package init(_ settings: TLSSettings) throws(TLSConfigurationError) {
        guard settings.authorityFile == nil || !settings.names.isEmpty else { throw TLSConfigurationError("no peer's name is accepted") }
        self.settings = settings
        current = Mutex(try Self.load(try Self.read(settings), settings, names: settings.names))
    }

    package func context(_ role: Role) -> TLSContext {
        current.withLock { role == .server ? $0.server : $0.client }
    }

    /// Reads the files again; what they hold counts for connections from now on. Costs reading a few KiB if nothing changed.
    ///
    /// - Returns: Whether something changed.
    /// - Throws: ``TLSConfigurationError`` naming the file if one is missing or unfit, or if key and certificate do not belong together; then
    ///   what was there before goes on.
    package func reload() throws(TLSConfigurationError) -> Bool {
        let (known, names) = current.withLock { ($0.files, $0.names) }
        let files = try Self.read(settings)
        if files == known { return false }
        let new = try Self.load(files, settings, names: names)
        current.withLock { $0 = new }
        return true
    }

    /// Accepts peers of these names from now on, and no others.
    package func accept(_ names: Set<String>) throws(TLSConfigurationError) {
        let (files, known) = current.withLock { ($0.files, $0.names) }
        if names == known { return }
        let new = try Self.load(files, settings, names: names)
        current.withLock { $0 = new }
    }

    private static func load(_ files: Files, _ settings: TLSSettings, names: Set<String>) throws(TLSConfigurationError) -> Current {
        var settings = settings
        settings.names = names
        let (server, client) = (try TLSContext(.server, settings), try TLSContext(.client, settings))
        for context in [server, client] {
            try context.use(certificate: files.certificate, key: files.key)
            if let authority = files.authority { try context.trust(authority) }
        }
        return Current(files: files, names: names, server: server, client: client)
    }

    private static func read(_ settings: TLSSettings) throws(TLSConfigurationError) -> Files {
        var authority: [UInt8]?
        if let file = settings.authorityFile { authority = try read(file) }
        return Files(certificate: try read(settings.certificateFile), key: try read(settings.keyFile), authority: authority)
    }

    private static func read(_ file: String) throws(TLSConfigurationError) -> [UInt8] {
        guard let bytes = FileManager.default.contents(atPath: file) else {
            throw TLSConfigurationError("\(file) \(FileManager.default.fileExists(atPath: file) ? "cannot be read" : "does not exist")")
        }
        return Array(bytes)
    }
}
