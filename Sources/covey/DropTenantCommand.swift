import ArgumentParser
import Foundation
import Model
import Sharding
import Storage

struct DropTenantCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drop-tenant", abstract: "Erase everything of a tenant: collections, uploaded files, snapshots.",
        discussion: """
            Works on the store itself, beside a running cluster or without one. First take the tenant's keys out of the configuration. What remains \
            is some 100 bytes for each shard and name, so that a node which slept meanwhile cannot write; --final deletes these too, and what late \
            calls have put back: say it two hours later, or when every node was started anew. Nodes' caches forget their copies within the time \
            erasure.deadline_seconds.
            """)
    @Argument(help: "The tenant.") var tenant: String
    @Flag(help: "Delete every last object of the tenant.") var final = false
    @OptionGroup var options: NodeOptions

    func run() async throws {
        do {
            let tenant = try TenantID(tenant)
            try await options.withExistingStore { store in
                let eraser = TenantEraser(store: store, tenant: tenant)
                try await options.recorded("tenant.drop", tenant: tenant, ["final": .bool(final)]) {
                    if final {
                        try await eraser.eraseFinally()
                        print("tenant \(tenant): nothing is left")
                    } else {
                        print("tenant \(tenant): \(try await eraser.erase()) collections ended and erased; run it with --final in two hours")
                    }
                }
            }
        } catch {
            FileHandle.standardError.write(Data("covey: \((error as? ClusterError)?.message ?? "\(error)")\n".utf8))
            throw ExitCode(1)
        }
    }
}
