import Foundation
import Model
import Observability

extension NodeOptions {
    /// Runs what a verb administers or deletes in the store itself, and records it in the configuration's audit log.
    ///
    /// - Throws: What `work` throws, and ``ConfigurationError`` before it if nothing could be recorded.
    func recorded<Value>(
        _ event: String, tenant: TenantID? = nil, _ object: [String: JSONValue] = [:], _ work: () async throws -> Value
    ) async throws -> Value {
        let path = try configuration().text("audit.log")
        guard !path.isEmpty else { return try await work() }
        let log: AuditLog
        do { log = try AuditLog(path: path, node: ProcessInfo.processInfo.hostName) } catch {
            throw ConfigurationError("audit.log \(path) cannot be written: \(error.localizedDescription)")
        }
        var entry = AuditLog.Entry(event)
        entry.tenant = tenant?.rawValue
        entry.key = "command line"
        entry.object = object
        entry.object["user"] = .string(NSUserName())
        do {
            let value = try await work()
            try log.record(entry)
            return value
        } catch {
            entry.outcome = "failed"
            entry.error = (error as? ClusterError)?.message ?? "\(error)"
            try? log.record(entry)
            throw error
        }
    }
}
