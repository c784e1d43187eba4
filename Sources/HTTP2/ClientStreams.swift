/// On which of its streams a client may still send, going by nothing but what it sent before.
///
/// libnghttp2 forgets a stream that is over and ignores what comes for it later, because it cannot tell a client's fault from a frame that crossed its
/// own reset. A client that has ended or reset a stream itself has no such excuse: RFC 9113, 5.1 and 5.1.1.
struct ClientStreams {
    /// Streams that the client may have open beside those that were reset from here; beyond it the oldest are forgotten, and frames on them let pass.
    private let capacity: Int
    private var highest: HTTP2StreamID = -1
    private var open: Set<HTTP2StreamID> = []
    private var forgottenThrough: HTTP2StreamID = 0
    /// Numbers that were left out, the latest ones: they can be used no more.
    private var skipped: [ClosedRange<HTTP2StreamID>] = []
    private static let skippedCapacity = 32

    init(capacity: Int) { self.capacity = capacity }

    /// Takes the next frame, and says what is wrong with it.
    mutating func take(_ frame: FrameHead) -> FrameInspector.Fault? {
        guard frame.stream & 1 == 1 else { return nil }  // the library knows that clients open odd ones
        switch frame.kind {
        case .headers where frame.stream > highest: begin(frame)
        case .headers, .data:
            guard frame.stream <= highest, frame.stream > forgottenThrough || open.contains(frame.stream) else { return nil }
            guard open.contains(frame.stream) else { return fault(frame) }
            if frame.endsStream { open.remove(frame.stream) }
        case .reset: open.remove(frame.stream)
        default: break
        }
        return nil
    }

    private mutating func begin(_ frame: FrameHead) {
        if frame.stream > highest + 2 {
            skipped.append(highest + 2...frame.stream - 2)
            if skipped.count > Self.skippedCapacity { skipped.removeFirst() }
        }
        highest = frame.stream
        if !frame.endsStream { open.insert(frame.stream) }
        guard open.count > capacity else { return }
        let oldest = open.sorted().prefix(open.count / 2)
        open.subtract(oldest)
        forgottenThrough = oldest.last ?? forgottenThrough
    }

    private func fault(_ frame: FrameHead) -> FrameInspector.Fault {
        if frame.kind == .headers, skipped.contains(where: { $0.contains(frame.stream) }) {
            return .init(code: .protocolError, reason: "HEADERS open stream \(frame.stream) after stream \(highest)")
        }
        return .init(code: .streamClosed, reason: "\(frame.kind == .data ? "DATA" : "HEADERS") on stream \(frame.stream), which the client has ended")
    }
}
