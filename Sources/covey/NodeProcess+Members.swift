import Logging
import Model
import Placement
import Storage
import Synchronization
import Transport

extension Configuration {
    /// The members that this configuration names.
    var clusterRecord: ClusterRecord {
        ClusterRecord(
            version: 0, replicas: number("replicas"),
            members: nodes(role: .shard).map { ClusterMember(node: NodeID($0.name), address: "\($0.address)", weight: $0.weight, zone: $0.zone) })
    }

    /// A record with the addresses that this configuration has for its members: they may be reached from here in another way.
    func resolved(_ record: ClusterRecord) throws -> ClusterRecord {
        var record = record
        for index in record.members.indices {
            let member = record.members[index]
            if let known = nodes(role: .shard).first(where: { $0.name == member.node.rawValue }) {
                record.members[index].address = "\(known.address)"
            } else {
                _ = try nodeAddress(member.address, of: "address of member \(member.node) (the cluster's record)")
            }
        }
        return record
    }
}

/// Connections to nodes, all closed together.
final class PeerPool: Sendable {
    private let make: @Sendable (_ name: String, Configuration.Address) throws -> Peer
    private let peers = Mutex<[Peer]>([])

    init(_ make: @escaping @Sendable (_ name: String, Configuration.Address) throws -> Peer) { self.make = make }

    func peer(_ name: String, at address: Configuration.Address) throws -> Peer {
        let peer = try make(name, address)
        peers.withLock { $0.append(peer) }
        return peer
    }

    /// - Throws: For an address that is none.
    func shard(_ member: ClusterMember) throws -> RemoteShard {
        RemoteShard(peer: try peer(member.node.rawValue, at: try Configuration.parseAddress(member.address, of: "address of member \(member.node)")))
    }

    func close() async { for peer in peers.withLock({ $0 }) { await peer.close() } }
}

extension NodeProcess {
    /// The members that the store names, which are those of this configuration if it names none yet.
    ///
    /// - Parameter own: A shard node's own name: it does not call itself.
    func members(_ store: any ObjectStore, own: NodeID? = nil, _ pool: PeerPool) async throws -> Members {
        let proposal = configuration.clusterRecord
        switch await firstRecord(proposal, store) {
        case .success(let record): return try members(record, proposal, own, pool)
        case .failure(let error):
            guard error.isRetryable else { throw ConfigurationError("the cluster's record: \(error.message)") }
            logger.warning("the store does not say who the members are, so for now they are those of the configuration", metadata: ["reason": "\(error)"])
            return try members(proposal, proposal, own, pool)
        }
    }

    private func firstRecord(_ proposal: ClusterRecord, _ store: any ObjectStore) async -> Result<ClusterRecord, ClusterError> {
        do throws(ClusterError) { return .success(try await ClusterRegistry(store: store).newest(orFirst: proposal)) } catch { return .failure(error) }
    }

    private func members(_ record: ClusterRecord, _ proposal: ClusterRecord, _ own: NodeID?, _ pool: PeerPool) throws -> Members {
        let differences = ClusterDifference(from: record, to: proposal)
        if !differences.isEmpty {
            logger.warning(
                "the configuration's shard nodes are not the cluster's: `covey cluster plan` shows what would change, `covey cluster apply` does it",
                metadata: ["version": "\(record.version)", "differences": "\(differences)"])
        }
        if let own, !record.members.contains(where: { $0.node == own }) { logger.warning("this node is no member of the cluster yet", metadata: ["version": "\(record.version)"]) }
        accept(record)
        return try Members(try configuration.resolved(record)) { member in member.node == own ? nil : try? pool.shard(member) }
    }

    /// Lets nodes in whose names the cluster's record has, beside those of the configuration.
    private func accept(_ record: ClusterRecord) {
        do { try tls.accept(record.members.map(\.node.rawValue)) } catch {
            logger.error("the members' names are not let in", metadata: ["reason": "\(error)"])
        }
    }

    /// Looks now and then whether the members changed: one listing each time, whatever the number of shards.
    func membersWatch(_ members: Members, _ store: any ObjectStore, changed: @escaping @Sendable () async -> Void = {}) -> Sweep {
        let registry = ClusterRegistry(store: store)
        return Sweep(interval: .seconds(configuration.number("cluster.poll_seconds"))) {
            do {
                guard let record = try await registry.newest(after: members.view.version) else { return }
                accept(record)
                guard try members.update(try configuration.resolved(record)) else { return }
                logger.info("the cluster's members changed", metadata: ["version": "\(record.version)", "members": "\(record.members.map(\.node.rawValue).joined(separator: ","))"])
                await changed()
            } catch { logger.warning("could not look for the cluster's members", metadata: ["reason": "\(error)"]) }
        }
    }
}
