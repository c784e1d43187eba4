import Foundation
import Gateway
import Logging
import Model
import Observability
import Synchronization

/// Who may call the public API: the keys of the settings, and those of `tenants.file`, which is read again while the gateway serves.
final class TenantSetup: Sendable {
    let directory: TenantDirectory
    private let file: String
    private let fixed: [KeyRing.Key]
    private struct Seen {
        var bytes: [UInt8]
        var complaint: String?
    }
    private let seen: Mutex<Seen>

    /// - Throws: ``ConfigurationError`` for a file that is missing or wrong.
    init(_ configuration: Configuration) throws {
        fixed = try configuration.keys.map { try KeyRing.Key(sha256: $0.sha256, tenant: $0.tenant, isOperator: $0.isOperator) }
        file = configuration.text("tenants.file")
        if file.isEmpty {
            let keys = fixed.isEmpty ? KeyRing.open : try KeyRing(fixed)
            directory = TenantDirectory(TenantDirectory.Contents(keys: keys))
            seen = Mutex(Seen(bytes: []))
        } else {
            let bytes = try Self.read(file)
            directory = TenantDirectory(try TenantsFile(try Self.text(bytes, file), file: file, fixed: fixed).contents)
            seen = Mutex(Seen(bytes: bytes))
        }
    }

    /// Takes the file anew if its bytes have changed. A file that is wrong is reported, and what was there before goes on.
    func reload(_ audit: AuditLog?, _ metrics: Metrics, _ logger: Logger) {
        guard !file.isEmpty else { return }
        let isValid = metrics.gauge("covey_tenants_file_valid", help: "1 if what tenants.file holds is what counts, 0 if it is wrong and an older one does.")
        do {
            let bytes = try Self.read(file)
            let known = seen.withLock { $0 }
            if bytes == known.bytes {
                seen.withLock { $0.complaint = nil }
                isValid.set(1)
                return
            }
            let contents = try TenantsFile(try Self.text(bytes, file), file: file, fixed: fixed).contents
            let before = directory.keys.callers
            directory.replace(with: contents)
            seen.withLock { $0 = Seen(bytes: bytes) }
            isValid.set(1)
            report(from: before, to: contents.keys.callers, audit, metrics, logger)
        } catch {
            isValid.set(0)
            let isNew = seen.withLock { seen in
                defer { seen.complaint = "\(error)" }
                return seen.complaint != "\(error)"
            }
            if isNew { logger.error("changed tenants.file not taken; the one before goes on", metadata: ["reason": "\(error)"]) }
        }
    }

    private func report(
        from old: [String: KeyRing.Caller], to new: [String: KeyRing.Caller], _ audit: AuditLog?, _ metrics: Metrics, _ logger: Logger
    ) {
        let changes = [
            "keys_added": new.keys.filter { old[$0] == nil }, "keys_removed": old.keys.filter { new[$0] == nil },
            "keys_changed": new.keys.filter { name in old[name].map { $0 != new[name] } ?? false },
        ].mapValues { $0.sorted() }
        logger.notice("tenants changed", metadata: changes.mapValues { "\($0.joined(separator: ","))" })
        var entry = AuditLog.Entry("tenants.change")
        entry.object = changes.mapValues { .array($0.map(JSONValue.string)) }
        do { try audit?.record(entry) } catch {
            metrics.counter("covey_audit_failures_total", help: "Lines that the audit log should have and could not be written.").add()
            logger.error("the audit log cannot be written", metadata: ["reason": "\(error)", "event": "tenants.change"])
        }
    }

    private static func read(_ file: String) throws -> [UInt8] {
        guard let bytes = FileManager.default.contents(atPath: file) else {
            throw ConfigurationError("tenants.file \(file) \(FileManager.default.fileExists(atPath: file) ? "cannot be read" : "does not exist")")
        }
        return Array(bytes)
    }

    private static func text(_ bytes: [UInt8], _ file: String) throws -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw ConfigurationError("tenants.file \(file) is not UTF-8 text") }
        return text
    }
}
