/// Reads the heads of a client's frames before libnghttp2 does, and finds what the library lets pass: floods of frames that lead to nothing, frames
/// on streams that the client has ended, and frames that begin and do not end.
struct FrameInspector {
    struct Fault {
        let code: HTTP2ErrorCode
        let reason: String
    }

    /// What answers earn: a client may acknowledge each frame of them, and measure its round trip.
    static let earnedByHeaders = 4
    static let earnedByData = 2
    /// A frame of data below this size counts as one that leads to nothing, unless it is the last of its stream.
    private static let smallDataBytes = 256
    private static let prefaceByteCount = 24

    private var budget: FrameBudget
    private var resets: FrameBudget
    private var streams: ClientStreams
    /// Of the frame that is arriving.
    private var head: UInt128 = 0
    private var headCount = 0
    private var kind: FrameHead.Kind?
    private var missing = prefaceByteCount
    private var isInsideHeaders = false
    private var beganAt: ContinuousClock.Instant
    private var hasFailed = false

    init(_ configuration: HTTP2Configuration, now: ContinuousClock.Instant) {
        budget = FrameBudget(burst: configuration.frameBurst, perSecond: configuration.framesPerSecond, now: now)
        resets = FrameBudget(burst: configuration.resetBurst, perSecond: configuration.resetsPerSecond, now: now)
        streams = ClientStreams(capacity: 2 * configuration.maximumConcurrentStreams)
        beganAt = now
    }

    /// When the preface, the frame or the header block that is incomplete began; `nil` if none is, or if it is one of data, whose time is the application's.
    var incompleteSince: ContinuousClock.Instant? {
        let isIncomplete = headCount > 0 || isInsideHeaders || missing > 0 && kind != .data
        return isIncomplete && !hasFailed ? beganAt : nil
    }

    mutating func earn(_ count: Int) { budget.earn(count) }

    /// Looks at the next bytes of the connection.
    ///
    /// - Returns: How many of them may be handed on, and what is wrong with the frame behind them; after that nothing more may be.
    mutating func inspect(_ bytes: RawSpan, at now: ContinuousClock.Instant) -> (byteCount: Int, fault: Fault?) {
        guard !hasFailed else { return (0, nil) }
        var offset = 0
        while offset < bytes.byteCount {
            if missing > 0 {
                let step = min(missing, bytes.byteCount - offset)
                missing -= step
                offset += step
                continue
            }
            if headCount == 0, !isInsideHeaders { beganAt = now }
            head = head << 8 | UInt128(unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self))
            headCount += 1
            offset += 1
            guard headCount == FrameHead.byteCount else { continue }
            if let fault = take(FrameHead(head), at: now) {
                hasFailed = true
                return (max(0, offset - FrameHead.byteCount), fault)
            }
        }
        return (offset, nil)
    }

    private mutating func take(_ frame: FrameHead, at now: ContinuousClock.Instant) -> Fault? {
        headCount = 0
        head = 0
        kind = frame.kind
        missing = frame.length
        let isMisplaced = isInsideHeaders && frame.kind != .continuation  // which the library sees
        if frame.kind == .headers || frame.kind == .continuation { isInsideHeaders = !frame.endsHeaders }
        guard budget.spend(cost(of: frame), at: now) else {
            return Fault(
                code: .enhanceYourCalm,
                reason: "more frames that lead to nothing than \(budget.burst) at once and \(budget.perSecond) a second, the last of type \(kind.map { "\($0)" } ?? "unknown")")
        }
        guard frame.kind != .reset || resets.spend(1, at: now) else {
            return Fault(code: .enhanceYourCalm, reason: "more resets than \(resets.burst) at once and \(resets.perSecond) a second")
        }
        if isMisplaced { return nil }
        guard frame.length >= frame.minimumLength else {
            return Fault(code: .frameSizeError, reason: "a frame of \(frame.length) bytes whose flags need \(frame.minimumLength)")
        }
        return streams.take(frame)
    }

    private func cost(of frame: FrameHead) -> Int {
        guard frame.kind == .data else { return 1 }
        return frame.endsStream || frame.length >= Self.smallDataBytes && !frame.isPadded ? 0 : 1
    }
}
