import Model

/// Puts the messages of one direction of a stream together from chunks that are cut anywhere.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 1 | 1 if compressed, else 0 |
/// | 1 | 4 | length of the message, big-endian |
/// | 5 | length | the message |
package struct MessageAssembler {
    /// Largest message, in bytes.
    let limit: Int
    private var prefix: [UInt8] = []
    private var message: [UInt8] = []
    /// Bytes that the current message still lacks; `nil` while its prefix is incomplete.
    private var missing: Int?

    package init(limit: Int) { self.limit = limit }

    /// Whether a message has begun and not ended.
    package var isInside: Bool { !prefix.isEmpty }

    /// Takes a chunk and appends the messages that it completes.
    ///
    /// - Throws: `unimplemented` for a compressed message; `resourceExhausted` for one beyond the limit, before its bytes are kept.
    package mutating func append(_ chunk: RawSpan, to messages: inout [[UInt8]]) throws(ClusterError) {
        var offset = 0
        while offset < chunk.byteCount {
            if missing == nil {
                while prefix.count < 5 && offset < chunk.byteCount {
                    prefix.append(unsafe chunk.unsafeLoad(fromByteOffset: offset, as: UInt8.self))
                    offset += 1
                }
                guard prefix.count == 5 else { return }
                missing = try parsePrefix()
                message.reserveCapacity(min(missing!, chunk.byteCount - offset))
            }
            let step = min(missing!, chunk.byteCount - offset)
            unsafe chunk.extracting(offset..<offset + step).withUnsafeBytes { unsafe message.append(contentsOf: $0) }
            offset += step
            missing! -= step
            if missing == 0 {
                messages.append(message)
                message = []
                prefix.removeAll(keepingCapacity: true)
                missing = nil
            }
        }
    }

    private func parsePrefix() throws(ClusterError) -> Int {
        guard prefix[0] == 0 else {
            throw ClusterError(.unimplemented, "compressed messages are not supported (flag \(prefix[0]))")
        }
        let length = prefix[1...].reduce(0) { $0 << 8 | Int($1) }
        guard length <= limit else { throw ClusterError(.resourceExhausted, "message of \(length) bytes, maximumMessageBytes is \(limit)") }
        return length
    }
}
