import Foundation
import Model

extension Covey_V1_AppendRequest: TenantMessage {}
extension Covey_V1_SearchRequest: TenantMessage {}
extension Covey_V1_FetchRequest: TenantMessage {}
extension Covey_V1_CountRequest: TenantMessage {}
extension Covey_V1_StatusRequest: TenantMessage {}
extension Covey_V1_OutlineRequest: TenantMessage {}
extension Covey_V1_SealRequest: TenantMessage {}
extension Covey_V1_DropRequest: TenantMessage {}
extension Covey_V1_FollowRequest: TenantMessage {}

extension AppendRequest: WireRequest {
    package init(_ message: Covey_V1_AppendRequest) throws(ClusterError) {
        var bodyHash: UInt128?
        if !message.bodyHash.isEmpty {
            guard message.bodyHash.count == 16 else { throw ClusterError(.invalidArgument, "body_hash must have 16 bytes, found \(message.bodyHash.count)") }
            bodyHash = message.bodyHash.reduce(0) { $0 << 8 | UInt128($1) }
        }
        self.init(
            shard: try ShardID(message.shard), operations: try convert(message.operations, Operation.init), takeover: message.takeover,
            id: message.writeID.isEmpty ? .random() : RequestID(message.writeID), part: message.part, bodyHash: bodyHash)
    }

    package var message: Covey_V1_AppendRequest {
        var message = Covey_V1_AppendRequest()
        message.shard = shard.message
        message.operations = operations.map(\.message)
        message.takeover = takeover
        message.writeID = id.rawValue
        message.part = part
        if let bodyHash { message.bodyHash = Data((0..<16).map { UInt8(truncatingIfNeeded: bodyHash >> (120 - 8 * $0)) }) }
        return message
    }

    package var shards: [ShardID] { [shard] }
}

extension AppendRequest.Operation: WireValue {
    package init(_ message: Covey_V1_AppendRequest.Operation) throws(ClusterError) {
        switch message.kind {
        case .upsert(let upsert): self = .upsert(try convert(upsert.points, Point.init))
        case .delete(let delete): self = .delete(try convert(delete.ids, PointID.init))
        case .deleteWhere(let filter): self = .deleteWhere(try Filter(filter))
        case nil: throw ClusterError(.invalidArgument, "operation is missing or of a kind unknown to this version")
        }
    }

    package var message: Covey_V1_AppendRequest.Operation {
        var message = Covey_V1_AppendRequest.Operation()
        switch self {
        case .upsert(let points): message.upsert.points = points.map(\.message)
        case .delete(let ids): message.delete.ids = ids.map(\.message)
        case .deleteWhere(let filter): message.deleteWhere = filter.message
        }
        return message
    }
}

extension SearchRequest: WireRequest {
    package init(_ message: Covey_V1_SearchRequest) throws(ClusterError) {
        self.init(shard: try ShardID(message.shard), try convert(message.searches, ShardSearch.init))
    }

    package var message: Covey_V1_SearchRequest {
        var message = Covey_V1_SearchRequest()
        message.shard = shard.message
        message.searches = searches.map(\.message)
        return message
    }

    package var shards: [ShardID] { [shard] }
}

extension ShardSearch: WireValue {
    package init(_ message: Covey_V1_ShardSearch) throws(ClusterError) {
        self.init(
            vector: message.vector, limit: Int(message.limit), filter: message.hasFilter ? try Filter(message.filter) : nil,
            scoreThreshold: message.hasScoreThreshold ? message.scoreThreshold : nil,
            effort: SearchEffort(
                exact: message.effort.exact, targetRecall: message.effort.hasTargetRecall ? message.effort.targetRecall : nil,
                probes: message.effort.hasProbes ? Int(message.effort.probes) : nil,
                candidates: message.effort.hasCandidates ? Int(message.effort.candidates) : nil))
    }

    package var message: Covey_V1_ShardSearch {
        var message = Covey_V1_ShardSearch()
        message.vector = vector
        message.limit = Int64(limit)
        if let filter { message.filter = filter.message }
        if let scoreThreshold { message.scoreThreshold = scoreThreshold }
        message.effort.exact = effort.exact
        if let recall = effort.targetRecall { message.effort.targetRecall = recall }
        if let probes = effort.probes { message.effort.probes = Int64(probes) }
        if let candidates = effort.candidates { message.effort.candidates = Int64(candidates) }
        return message
    }
}

extension FetchRequest: WireRequest {
    package init(_ message: Covey_V1_FetchRequest) throws(ClusterError) {
        guard let selection = message.selection else { throw ClusterError(.invalidArgument, "selection is missing") }
        self.init(
            shard: try ShardID(message.shard), selection: try Selection(selection), withPayload: PayloadSelection(message.withPayload),
            withVector: message.withVector)
    }

    package var message: Covey_V1_FetchRequest {
        var message = Covey_V1_FetchRequest()
        message.shard = shard.message
        switch selection {
        case .ids(let ids): message.ids.ids = ids.map(\.message)
        case .versions(let versions): message.versions.points = versions.map(\.message)
        case .page(let first, let limit, let filter):
            message.page.limit = Int64(limit)
            if let first { message.page.from = first.message }
            if let filter { message.page.filter = filter.message }
        }
        message.withPayload = withPayload.message
        message.withVector = withVector
        return message
    }

    package var shards: [ShardID] { [shard] }
}

extension FetchRequest.Selection {
    fileprivate init(_ message: Covey_V1_FetchRequest.OneOf_Selection) throws(ClusterError) {
        switch message {
        case .ids(let ids): self = .ids(try convert(ids.ids, PointID.init))
        case .versions(let versions): self = .versions(try convert(versions.points, PointVersion.init))
        case .page(let page):
            self = .page(
                from: page.hasFrom ? try PointID(page.from) : nil, limit: Int(page.limit),
                filter: page.hasFilter ? try Filter(page.filter) : nil)
        }
    }
}

extension PayloadSelection: WireValue {
    package init(_ message: Covey_V1_PayloadSelection) {
        switch message.kind {
        case .all: self = .all
        case .only(let keys): self = .only(keys.keys)
        case .except(let keys): self = .except(keys.keys)
        case nil: self = .none
        }
    }

    package var message: Covey_V1_PayloadSelection {
        var message = Covey_V1_PayloadSelection()
        switch self {
        case .none: break
        case .all: message.all = Covey_V1_PayloadSelection.Everything()
        case .only(let keys): message.only.keys = keys
        case .except(let keys): message.except.keys = keys
        }
        return message
    }
}

extension CountRequest: WireRequest {
    package init(_ message: Covey_V1_CountRequest) throws(ClusterError) {
        self.init(shard: try ShardID(message.shard), filter: message.hasFilter ? try Filter(message.filter) : nil)
    }

    package var message: Covey_V1_CountRequest {
        var message = Covey_V1_CountRequest()
        message.shard = shard.message
        if let filter { message.filter = filter.message }
        return message
    }

    package var shards: [ShardID] { [shard] }
}

extension StatusRequest: WireRequest {
    package init(_ message: Covey_V1_StatusRequest) throws(ClusterError) {
        self.init(shards: try convert(message.shards, ShardID.init), nodeOnly: message.nodeOnly)
    }

    package var message: Covey_V1_StatusRequest {
        var message = Covey_V1_StatusRequest()
        message.shards = shards.map(\.message)
        message.nodeOnly = nodeOnly
        return message
    }
}

extension SealRequest: WireRequest {
    package init(_ message: Covey_V1_SealRequest) throws(ClusterError) {
        self.init(
            shard: try ShardID(message.shard), takeover: message.takeover, split: message.split,
            mergeWith: message.mergeWith == 0 ? nil : Int(message.mergeWith))
    }

    package var message: Covey_V1_SealRequest {
        var message = Covey_V1_SealRequest()
        message.shard = shard.message
        message.takeover = takeover
        message.split = split
        message.mergeWith = Int64(mergeWith ?? 0)
        return message
    }

    package var shards: [ShardID] { [shard] }
}

extension DropRequest: WireRequest {
    package init(_ message: Covey_V1_DropRequest) throws(ClusterError) { self.init(shard: try ShardID(message.shard)) }

    package var message: Covey_V1_DropRequest {
        var message = Covey_V1_DropRequest()
        message.shard = shard.message
        return message
    }

    package var shards: [ShardID] { [shard] }
}

extension FollowRequest: WireRequest {
    package init(_ message: Covey_V1_FollowRequest) throws(ClusterError) {
        self.init(shard: try ShardID(message.shard), entries: message.entries.map(Array.init), manifestVersion: message.manifestVersion)
    }

    package var message: Covey_V1_FollowRequest {
        var message = Covey_V1_FollowRequest()
        message.shard = shard.message
        message.entries = entries.map { Data($0) }
        message.manifestVersion = manifestVersion
        return message
    }

    package var shards: [ShardID] { [shard] }
}
