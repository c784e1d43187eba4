import ArgumentParser
import Foundation
import Model
import Sharding
import Storage

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Check every object of a store: checksums, references, what nothing refers to.",
        discussion: """
            Reads the store that the settings (store.…) name, with or without a cluster running on it, and changes nothing. \
            Ends with 0 if nothing is damaged or missing, 1 if something is, 2 if the store could not be read. Orphans only take space.

            \(Setting.manual)
            """)
    @Option(help: "Only this tenant's objects.") var tenant: String?
    @Flag(help: "Print one JSON object for scripts, with what is pending too.") var json = false
    @OptionGroup var options: NodeOptions

    func run() async throws {
        let isClean: Bool
        do { isClean = try await verify() } catch {
            FileHandle.standardError.write(Data("covey: \(error)\n".utf8))
            throw ExitCode(2)
        }
        if !isClean { throw ExitCode(1) }
    }

    private func verify() async throws -> Bool {
        let only = try tenant.map { try TenantID($0) }
        return try await options.withExistingStore { store in
            let page = AuditPage(json: json)
            var outside = try await StoreAudit(store: store).run(tenant: only) { await page.add($0) }
            if only == nil, let local = store as? LocalObjectStore {
                outside += try await local.strays().map { StoreFinding(.orphan, $0, "a file that is no object") }
            }
            return await page.finish(outside)
        }
    }
}

extension NodeOptions {
    /// Runs a verb that works on the store itself, with or without a cluster.
    func withExistingStore<Value>(_ body: (any ObjectStore) async throws -> Value) async throws -> Value {
        let configuration = try configuration()
        let path = configuration.text("store.path")
        guard path.contains("://") || FileManager.default.fileExists(atPath: path) else { throw ConfigurationError("store.path \(path) does not exist") }
        return try await withStore(at: path, body)
    }

    /// The same with another folder or bucket than `store.path`, the other settings of the store being as they are.
    func withStore<Value>(at path: String, _ body: (any ObjectStore) async throws -> Value) async throws -> Value {
        let configuration = try configuration()
        let cache = FileManager.default.temporaryDirectory.path + "/covey-" + fixedHex(.random(in: 0...UInt64.max))
        defer { try? FileManager.default.removeItem(atPath: cache) }
        let settings = StoreSettings(configuration: configuration, node: "", environment: ProcessInfo.processInfo.environment, passingCache: cache)
        return try await body(try await settings.open(path))
    }
}

/// Prints an audit as it goes on, or collects it as JSON.
private actor AuditPage {
    private let json: Bool
    private var tenants: [JSONValue] = []
    private var counts: [StoreFinding.Kind: Int] = [:]

    init(json: Bool) { self.json = json }

    func add(_ tenant: TenantAudit) {
        for finding in tenant.allFindings { counts[finding.kind, default: 0] += 1 }
        guard !json else { return tenants.append(Self.json(tenant)) }
        print("tenant \(tenant.tenant): \(tenant.files) uploaded files, \(tenant.snapshots) snapshots")
        for collection in tenant.collections {
            let name = collection.name.map { "\($0) (\(collection.incarnation))" } ?? "\(collection.incarnation)"
            let held = "\(collection.shards) shards, \(collection.segments) segments of \(collection.segmentBytes) bytes, \(collection.sealedPoints) points sealed, \(collection.logEntries) log entries after them"
            print("  \(name): \(collection.standing == .live ? held : collection.standing.rawValue)")
        }
        list(tenant.allFindings)
    }

    func finish(_ outside: [StoreFinding]) -> Bool {
        for finding in outside { counts[finding.kind, default: 0] += 1 }
        func count(_ kind: StoreFinding.Kind) -> Int { counts[kind] ?? 0 }
        let isClean = count(.damaged) + count(.missing) == 0
        if json {
            let total = JSONValue.object(Dictionary(uniqueKeysWithValues: StoreFinding.Kind.allCases.map { ($0.rawValue, .integer(Int64(count($0)))) }))
            let all: JSONValue = ["ok": .bool(isClean), "counts": total, "tenants": .array(tenants), "findings": .array(outside.map(Self.json))]
            print(String(decoding: all.serialized(), as: UTF8.self))
        } else {
            list(outside)
            print("\(count(.damaged)) damaged, \(count(.missing)) missing, \(count(.orphan)) orphans, \(count(.pending)) pending")
        }
        return isClean
    }

    private func list(_ findings: [StoreFinding]) {
        for finding in findings where finding.kind != .pending { print("  \(finding.kind.rawValue): \(finding.key): \(finding.reason)") }
    }

    private static func json(_ tenant: TenantAudit) -> JSONValue {
        let collections = tenant.collections.map { collection -> JSONValue in
            [
                "name": collection.name.map { .string($0) } ?? .null, "incarnation": .string("\(collection.incarnation)"),
                "standing": .string(collection.standing.rawValue), "shards": .integer(Int64(collection.shards)),
                "segments": .integer(Int64(collection.segments)), "segment_bytes": .integer(Int64(collection.segmentBytes)),
                "sealed_points": .integer(Int64(collection.sealedPoints)), "log_entries": .integer(Int64(collection.logEntries)),
                "findings": .array(collection.findings.map(json)),
            ]
        }
        return [
            "tenant": .string(tenant.tenant.rawValue), "files": .integer(Int64(tenant.files)), "snapshots": .integer(Int64(tenant.snapshots)), "collections": .array(collections),
            "findings": .array(tenant.findings.map(json)),
        ]
    }

    private static func json(_ finding: StoreFinding) -> JSONValue {
        ["kind": .string(finding.kind.rawValue), "key": .string(finding.key), "reason": .string(finding.reason)]
    }
}
