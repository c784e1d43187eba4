/// What one stream still has to send: chunks, then, once it is ended, trailers.
struct OutgoingBody {
    private var chunks: [[UInt8]] = []
    /// Chunks before this one are sent; of this one, `offset` bytes.
    private var next = 0
    private var offset = 0
    private(set) var byteCount = 0
    /// Sent after the last byte.
    var trailers: [HTTP2Header] = []
    var isEnded = false
    /// Whether the library waits to be told that there is more.
    var isDeferred = false
    /// Since the last look: bytes that were taken, and whether there was something to take all the time.
    private var takenBytes = 0
    private var wasWaiting = false

    mutating func append(_ chunk: [UInt8]) {
        if chunk.isEmpty { return }
        chunks.append(chunk)
        byteCount += chunk.count
    }

    /// Moves the first `count` bytes to the end of `output`.
    mutating func take(_ count: Int, into output: inout [UInt8]) {
        precondition(count <= byteCount, "\(count) bytes of \(byteCount)")
        var left = count
        while left > 0 {
            let step = min(left, chunks[next].count - offset)
            output.append(contentsOf: chunks[next][offset..<offset + step])
            offset += step
            left -= step
            if offset == chunks[next].count { advance() }
        }
        byteCount -= count
        takenBytes += count
        if byteCount == 0 { wasWaiting = false }
    }

    /// Whether bytes have been waiting since the last look and fewer than `minimum` of them were taken.
    mutating func hasStalled(minimum: Int) -> Bool {
        defer {
            wasWaiting = byteCount > 0
            takenBytes = 0
        }
        return wasWaiting && takenBytes < minimum
    }

    private mutating func advance() {
        chunks[next] = []
        next += 1
        offset = 0
        if next == chunks.count {
            chunks.removeAll(keepingCapacity: true)
            next = 0
        } else if next >= 32 && next * 2 >= chunks.count {
            chunks.removeFirst(next)  // amortized: as many were sent as are moved
            next = 0
        }
    }
}
