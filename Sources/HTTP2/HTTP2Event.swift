/// What bytes from the peer meant, in the order in which they meant it.
package enum HTTP2Event: Hashable, Sendable {
    /// A whole header block: of a request, of a response, or of trailers.
    case headers(stream: HTTP2StreamID, [HTTP2Header], endsStream: Bool)
    /// A header block of more than ``HTTP2Configuration/maximumHeaderListBytes``; its fields were dropped.
    case headerListTooLarge(stream: HTTP2StreamID, byteCount: Int, endsStream: Bool)
    /// The next bytes of a stream: where they lie in the bytes given to ``HTTP2Session/receive(_:)``.
    /// They count against the windows until ``HTTP2Session/consume(_:of:)`` and ``HTTP2Session/consumeOnConnection(_:)``.
    case data(stream: HTTP2StreamID, Range<Int>)
    /// The peer ended its side with a frame of data.
    case dataEnded(stream: HTTP2StreamID)
    /// Both sides are done, or one of them reset the stream; its number is never seen again.
    case streamClosed(stream: HTTP2StreamID, code: HTTP2ErrorCode)
    /// The last frame of this side of a stream went out.
    case sentEnd(stream: HTTP2StreamID)
    /// The peer answered a ping.
    case pingAcknowledged(mark: UInt8)
    /// The peer takes no streams beyond `lastStream` and will close the connection.
    case goAway(lastStream: HTTP2StreamID, code: HTTP2ErrorCode)
    /// The peer broke the protocol: it is being told so, and the connection ends.
    case terminated(code: HTTP2ErrorCode)
}

/// Number of a stream: odd ones are opened by clients.
package typealias HTTP2StreamID = Int32

/// One field of a header block; names are in lower case.
package struct HTTP2Header: Hashable, Sendable {
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }

    /// The size that RFC 9113 § 6.5.2 counts.
    package var listBytes: Int { name.utf8.count + value.utf8.count + 32 }
}

extension [HTTP2Header] {
    /// The value of the first field of this name.
    package subscript(name: String) -> String? { first { $0.name == name }?.value }

    /// Whether a request says for whom it is in two ways that differ, or names a user there: RFC 9113, 8.3.1. The library does not look.
    package var isAuthorityMalformed: Bool {
        guard let authority = self[":authority"] else { return false }
        let port = self[":scheme"] == "https" ? ":443" : ":80"
        func entity(_ text: String) -> String {
            let text = text.lowercased()
            return text.hasSuffix(port) ? String(text.dropLast(port.count)) : text
        }
        return authority.contains("@") || contains { $0.name == "host" && entity($0.value) != entity(authority) }
    }
}

/// Why a stream or a connection ends: RFC 9113 § 7.
package struct HTTP2ErrorCode: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let noError = HTTP2ErrorCode(rawValue: 0)
    package static let protocolError = HTTP2ErrorCode(rawValue: 1)
    package static let internalError = HTTP2ErrorCode(rawValue: 2)
    package static let flowControlError = HTTP2ErrorCode(rawValue: 3)
    package static let settingsTimeout = HTTP2ErrorCode(rawValue: 4)
    package static let streamClosed = HTTP2ErrorCode(rawValue: 5)
    package static let frameSizeError = HTTP2ErrorCode(rawValue: 6)
    package static let refusedStream = HTTP2ErrorCode(rawValue: 7)
    package static let cancel = HTTP2ErrorCode(rawValue: 8)
    package static let enhanceYourCalm = HTTP2ErrorCode(rawValue: 11)

    package var description: String {
        let names = [
            "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
            "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
        ]
        return rawValue < names.count ? names[Int(rawValue)] : "error \(rawValue)"
    }
}
