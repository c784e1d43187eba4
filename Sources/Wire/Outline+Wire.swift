import Foundation
import Model

extension OutlineRequest: WireRequest {
    package init(_ message: Covey_V1_OutlineRequest) throws(ClusterError) {
        self.init(shard: try ShardID(message.shard), maximumBytes: Int(message.maximumBytes))
    }

    package var message: Covey_V1_OutlineRequest {
        var message = Covey_V1_OutlineRequest()
        message.shard = shard.message
        message.maximumBytes = Int64(maximumBytes)
        return message
    }

    package var shards: [ShardID] { [shard] }
}

extension OutlineReply: WireValue {
    package init(_ message: Covey_V1_OutlineReply) throws(ClusterError) {
        self.init(
            range: try HashRange(message.range), position: message.position, manifestVersion: message.manifestVersion,
            outline: message.hasOutline ? ShardOutline(balls: try convert(message.outline.balls, ShardOutline.Balls.init)) : nil)
    }

    package var message: Covey_V1_OutlineReply {
        var message = Covey_V1_OutlineReply()
        message.range = range.message
        message.position = position
        message.manifestVersion = manifestVersion
        if let outline { message.outline.balls = outline.balls.map(\.message) }
        return message
    }
}

extension ShardOutline.Balls: WireValue {
    package init(_ message: Covey_V1_Balls) throws(ClusterError) {
        let (count, dimension) = (message.scales.count, message.mean.count)
        guard message.radii.count == count, message.centres.count == count * dimension else {
            throw ClusterError(.invalidArgument, "balls: \(count) scales, \(message.radii.count) radii, \(message.centres.count) bytes of centres, dimension \(dimension)")
        }
        self.init(
            mean: message.mean, bytes: [UInt8](message.centres), scales: message.scales, radii: message.radii,
            leastLength: message.leastLength, greatestLength: message.greatestLength)
    }

    package var message: Covey_V1_Balls {
        var message = Covey_V1_Balls()
        message.mean = mean
        message.centres = Data(bytes)
        message.scales = scales
        message.radii = radii
        message.leastLength = leastLength
        message.greatestLength = greatestLength
        return message
    }
}
