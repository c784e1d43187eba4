/// The nine bytes that every frame begins with: RFC 9113, 4.1.
///
/// | offset | size | field, big-endian |
/// |---|---|---|
/// | 0 | 3 | length of the payload |
/// | 3 | 1 | type |
/// | 4 | 1 | flags |
/// | 5 | 4 | a reserved bit, then the stream |
struct FrameHead {
    enum Kind: UInt8 { case data, headers, priority, reset, settings, pushPromise, ping, goAway, windowUpdate, continuation }

    static let byteCount = 9
    let length: Int
    /// `nil` for a type that RFC 9113 does not have.
    let kind: Kind?
    private let flags: UInt8
    let stream: HTTP2StreamID

    /// - Parameter bytes: The nine bytes as one number.
    init(_ bytes: UInt128) {
        length = Int(truncatingIfNeeded: bytes >> 48) & 0xff_ffff
        kind = Kind(rawValue: UInt8(truncatingIfNeeded: bytes >> 40))
        flags = UInt8(truncatingIfNeeded: bytes >> 32)
        stream = HTTP2StreamID(truncatingIfNeeded: bytes & 0x7fff_ffff)
    }

    var endsStream: Bool { (kind == .data || kind == .headers) && flags & 0x1 != 0 }
    var endsHeaders: Bool { flags & 0x4 != 0 }
    var isPadded: Bool { (kind == .data || kind == .headers) && flags & 0x8 != 0 }
    /// What the flags say is there: the length of the padding, a priority.
    var minimumLength: Int { (isPadded ? 1 : 0) + (kind == .headers && flags & 0x20 != 0 ? 5 : 0) }
}
