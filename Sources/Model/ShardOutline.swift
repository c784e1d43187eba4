/// Balls that together hold every live vector of a shard, as it is compared, at one position of its log: what can still be said of a shard that does
/// not answer. `VectorMath` makes them and says what score they allow.
package struct ShardOutline: Hashable, Sendable {
    package var balls: [Balls]

    package init(balls: [Balls] = []) { self.balls = balls }

    package var isEmpty: Bool { balls.allSatisfy { $0.count == 0 } }
    /// Bytes in memory, about.
    package var byteCount: Int { balls.reduce(0) { $0 + $1.byteCount } }

    /// Some balls whose centres have one byte an element.
    package struct Balls: Hashable, Sendable {
        /// `[dimension]`
        package var mean: [Float]
        /// `[count, dimension]`: element e of a centre is mean[e] + (byte − 128) · scale.
        package var bytes: [UInt8]
        /// `[count]`
        package var scales: [Float]
        /// `[count]`: no vector is farther from the centre of its ball.
        package var radii: [Float]
        /// No vector of any of the balls is shorter or longer.
        package var leastLength: Float
        package var greatestLength: Float

        package init(mean: [Float], bytes: [UInt8], scales: [Float], radii: [Float], leastLength: Float, greatestLength: Float) {
            precondition(scales.count == radii.count && bytes.count == scales.count * mean.count, "\(bytes.count) bytes, \(scales.count) scales, \(radii.count) radii of \(mean.count)")
            self.mean = mean
            self.bytes = bytes
            self.scales = scales
            self.radii = radii
            self.leastLength = leastLength
            self.greatestLength = greatestLength
        }

        package var count: Int { scales.count }
        package var byteCount: Int { Self.byteCount(count, dimension: mean.count) }
        package static func byteCount(_ count: Int, dimension: Int) -> Int { count * (dimension + 8) + 4 * dimension + 8 }
    }
}

package struct OutlineRequest: Hashable, Sendable {
    package var shard: ShardID
    /// The outline gets coarser until it takes so many bytes at most.
    package var maximumBytes: Int

    package init(shard: ShardID, maximumBytes: Int) {
        self.shard = shard
        self.maximumBytes = maximumBytes
    }
}

package struct OutlineReply: Hashable, Sendable {
    package var range: HashRange
    /// Log position whose points the outline holds, and the manifest's version at it.
    package var position: UInt64
    package var manifestVersion: UInt64
    /// `nil` if there is none: a file cannot be read, distances overflow, or the coarsest takes too many bytes.
    package var outline: ShardOutline?

    package init(range: HashRange, position: UInt64, manifestVersion: UInt64, outline: ShardOutline?) {
        self.range = range
        self.position = position
        self.manifestVersion = manifestVersion
        self.outline = outline
    }
}
