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

    /// A record with the addresses that this configuration has for its members: they may be reached from here in another way. A member that has moved
    /// since is where the record says.
    ///
    /// - Parameter first: The first record that this process read; `nil` if this is the first.
    func resolved(_ record: ClusterRecord, since first: ClusterRecord? = nil) throws -> ClusterRecord {
        var record = record
        for index in record.members.indices {
            let member = record.members[index]
            let hasMoved = first?.members.contains { $0.node == member.node && $0.address != member.address } ?? false
            if !hasMoved, let known = nodes(role: .shard).first(where: { $0.name == member.node.rawValue }) {
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
    /// The first record of the cluster's members that was read from the store.
    private let firstRecord = Mutex<ClusterRecord?>(nil)
    private let peers = Mutex<[(member: ClusterMember?, peer: Peer)]>([])

    init(_ make: @escaping @Sendable (_ name: String, Configuration.Address) throws -> Peer) { self.make = make }

    func peer(_ name: String, at address: Configuration.Address, of member: ClusterMember? = nil) throws -> Peer {
        let peer = try make(name, address)
        peers.withLock { $0.append((member, peer)) }
        return peer
    }

    /// - Throws: For an address that is none.
    func shard(_ member: ClusterMember) throws -> RemoteShard {
        let address = try Configuration.parseAddress(member.address, of: "address of member \(member.node)")
        return RemoteShard(peer: try peer(member.node.rawValue, at: address, of: member))
    }

    /// A record with the addresses by which this process reaches its members.
    func resolved(_ record: ClusterRecord, _ configuration: Configuration) throws -> ClusterRecord {
        let first = firstRecord.withLock { first in
            first = first ?? record
            return first!
        }
        return try configuration.resolved(record, since: first)
    }

    /// Closes the connections to members that have left or moved: each would be tried again for ever.
    func close(allBut members: [ClusterMember]) async {
        let isLeft = { (entry: (member: ClusterMember?, peer: Peer)) in
            entry.member.map { member in members.contains { $0.node == member.node && $0.address == member.address } } ?? true
        }
        let gone = peers.withLock { peers in
            defer { peers.removeAll { !isLeft($0) } }
            return peers.filter { !isLeft($0) }
        }
        for entry in gone { await entry.peer.close() }
    }

    func close() async { for entry in peers.withLock({ $0 }) { await entry.peer.close() } }
}

extension NodeProcess {
    /// The members that the store names, which are those of this configuration if it names none yet.
    ///
    /// - Parameter own: A shard node's own name: it does not call itself.
    func members(_ store: any ObjectStore, own: NodeID? = nil, _ pool: PeerPool) async throws -> Members {
        let proposal = configuration.clusterRecord
        switch await firstRecord(proposal, store) {
        case .success(let record): return try members(record, try pool.resolved(record, configuration), proposal, own, pool)
        case .failure(let error):
            guard error.isRetryable else { throw ConfigurationError("the cluster's record: \(error.message)") }
            logger.warning("the store does not say who the members are, so for now they are those of the configuration", metadata: ["reason": "\(error)"])
            return try members(proposal, proposal, proposal, own, pool)
        }
    }

    private func firstRecord(_ proposal: ClusterRecord, _ store: any ObjectStore) async -> Result<ClusterRecord, ClusterError> {
        do throws(ClusterError) { return .success(try await ClusterRegistry(store: store).newest(orFirst: proposal)) } catch { return .failure(error) }
    }

    private func members(_ record: ClusterRecord, _ resolved: ClusterRecord, _ proposal: ClusterRecord, _ own: NodeID?, _ pool: PeerPool) throws -> Members {
        let differences = ClusterDifference(from: record, to: proposal)
        if !differences.isEmpty {
            logger.warning(
                "the configuration's shard nodes are not the cluster's: `covey cluster plan` shows what would change, `covey cluster apply` does it",
                metadata: ["version": "\(record.version)", "differences": "\(differences)"])
        }
        if let own, !record.members.contains(where: { $0.node == own }) { logger.warning("this node is no member of the cluster yet", metadata: ["version": "\(record.version)"]) }
        accept(record)
        return try Members(resolved) { member in member.node == own ? nil : try? pool.shard(member) }
    }

    /// Lets nodes in whose names the cluster's record has, beside those of the configuration.
    private func accept(_ record: ClusterRecord) {
        do { try tls.accept(record.members.map(\.node.rawValue)) } catch {
            logger.error("the members' names are not let in", metadata: ["reason": "\(error)"])
        }
    }

    /// Looks now and then whether the members changed: one listing each time, whatever the number of shards.
    func membersWatch(_ members: Members, _ store: any ObjectStore, _ pool: PeerPool, changed: @escaping @Sendable () async -> Void = {}) -> Sweep {
        let registry = ClusterRegistry(store: store)
        return Sweep(interval: .seconds(configuration.number("cluster.poll_seconds"))) {
            do {
                guard let record = try await registry.newest(after: members.view.version) else { return }
                accept(record)
                guard try members.update(try pool.resolved(record, configuration)) else { return }
                await pool.close(allBut: members.view.record.members)
                logger.info("the cluster's members changed", metadata: ["version": "\(record.version)", "members": "\(record.members.map(\.node.rawValue).joined(separator: ","))"])
                await changed()
            } catch { logger.warning("could not look for the cluster's members", metadata: ["reason": "\(error)"]) }
        }
    }
}
