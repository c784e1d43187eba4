import Model

extension AppendReply: WireValue {
    package init(_ message: Covey_V1_AppendReply) {
        self.init(position: message.position, superseded: Int(message.superseded), owner: message.owner.isEmpty ? nil : NodeID(message.owner))
    }

    package var message: Covey_V1_AppendReply {
        var message = Covey_V1_AppendReply()
        message.position = position
        message.superseded = Int64(superseded)
        if let owner { message.owner = owner.rawValue }
        return message
    }
}

extension SearchReply: WireValue {
    package init(_ message: Covey_V1_SearchReply) throws(ClusterError) {
        self.init(
            results: try convert(message.results, Result.init), range: try HashRange(message.range), position: message.position,
            manifestVersion: message.manifestVersion, age: message.hasAgeMicroseconds ? .microseconds(message.ageMicroseconds) : nil)
    }

    package var message: Covey_V1_SearchReply {
        var message = Covey_V1_SearchReply()
        message.results = results.map(\.message)
        message.range = range.message
        message.position = position
        message.manifestVersion = manifestVersion
        if let age { message.ageMicroseconds = Int64(age / .microseconds(1)) }
        return message
    }
}

extension SearchReply.Result: WireValue {
    package init(_ message: Covey_V1_SearchReply.Result) throws(ClusterError) {
        self.init(hits: try convert(message.hits, Hit.init), work: SearchWork(message.work))
    }

    package var message: Covey_V1_SearchReply.Result {
        var message = Covey_V1_SearchReply.Result()
        message.hits = hits.map(\.message)
        message.work = work.message
        return message
    }
}

extension SearchWork: WireValue {
    package init(_ message: Covey_V1_SearchWork) {
        self.init(
            pointsHeld: Int(message.pointsHeld), pointsByCode: Int(message.pointsByCode), pointsExactly: Int(message.pointsExactly),
            codesScanned: Int(message.codesScanned), candidatesRescored: Int(message.candidatesRescored),
            pointsUnreadable: Int(message.pointsUnreadable), listsScanned: Int(message.listsScanned), recall: message.hasRecall ? message.recall : nil)
    }

    package var message: Covey_V1_SearchWork {
        var message = Covey_V1_SearchWork()
        message.pointsHeld = Int64(pointsHeld)
        message.pointsByCode = Int64(pointsByCode)
        message.pointsExactly = Int64(pointsExactly)
        message.codesScanned = Int64(codesScanned)
        message.candidatesRescored = Int64(candidatesRescored)
        message.pointsUnreadable = Int64(pointsUnreadable)
        message.listsScanned = Int64(listsScanned)
        if let recall { message.recall = recall }
        return message
    }
}

extension FetchReply: WireValue {
    package init(_ message: Covey_V1_FetchReply) throws(ClusterError) { self.init(points: try convert(message.points, StoredPoint.init)) }

    package var message: Covey_V1_FetchReply {
        var message = Covey_V1_FetchReply()
        message.points = points.map(\.message)
        return message
    }
}

extension CountReply: WireValue {
    package init(_ message: Covey_V1_CountReply) { self.init(count: Int(message.count)) }

    package var message: Covey_V1_CountReply {
        var message = Covey_V1_CountReply()
        message.count = Int64(count)
        return message
    }
}

extension StatusReply: WireValue {
    package init(_ message: Covey_V1_StatusReply) throws(ClusterError) {
        self.init(node: NodeID(message.node), shards: try convert(message.shards, ShardStatus.init), codesScanned: message.codesScanned)
    }

    package var message: Covey_V1_StatusReply {
        var message = Covey_V1_StatusReply()
        message.node = node.rawValue
        message.shards = shards.map(\.message)
        message.codesScanned = codesScanned
        return message
    }
}

extension ShardStatus: WireValue {
    package init(_ message: Covey_V1_ShardStatus) throws(ClusterError) {
        self.init(
            shard: try ShardID(message.shard), range: try HashRange(message.range), points: Int(message.points),
            pointsByCode: Int(message.pointsByCode), segments: Int(message.segments), logPosition: message.logPosition, epoch: message.epoch,
            manifestVersion: message.manifestVersion, indexBytes: Int(message.indexBytes), fileBytes: Int(message.fileBytes),
            damaged: message.damaged, sealing: message.hasSealing ? message.sealing : nil,
            quantizationError: message.hasQuantizationError ? message.quantizationError : nil,
            newPointsError: message.hasNewPointsError ? message.newPointsError : nil)
    }

    package var message: Covey_V1_ShardStatus {
        var message = Covey_V1_ShardStatus()
        message.shard = shard.message
        message.range = range.message
        message.points = Int64(points)
        message.pointsByCode = Int64(pointsByCode)
        message.segments = Int64(segments)
        message.logPosition = logPosition
        message.epoch = epoch
        message.manifestVersion = manifestVersion
        message.indexBytes = Int64(indexBytes)
        message.fileBytes = Int64(fileBytes)
        message.damaged = damaged
        if let sealing { message.sealing = sealing }
        if let quantizationError { message.quantizationError = quantizationError }
        if let newPointsError { message.newPointsError = newPointsError }
        return message
    }
}

extension SealReply: WireValue {
    package init(_ message: Covey_V1_SealReply) {
        self.init(points: Int(message.points), segments: Int(message.segments), owner: message.owner.isEmpty ? nil : NodeID(message.owner))
    }

    package var message: Covey_V1_SealReply {
        var message = Covey_V1_SealReply()
        message.points = Int64(points)
        message.segments = Int64(segments)
        if let owner { message.owner = owner.rawValue }
        return message
    }
}
