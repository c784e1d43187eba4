import HTTP2
import Model

/// How gRPC writes things into HTTP/2: github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
package enum GRPC {
    /// How fresh a read has to be; without it `strong`.
    static let consistencyHeader = "covey-consistency"

    /// The five bytes before each message: not compressed, length in big-endian.
    package static func prefix(_ byteCount: Int) -> [UInt8] {
        let length = UInt32(byteCount)
        return [0, UInt8(length >> 24), UInt8(truncatingIfNeeded: length >> 16), UInt8(truncatingIfNeeded: length >> 8), UInt8(truncatingIfNeeded: length)]
    }

    static let replyHeaders = [HTTP2Header(":status", "200"), HTTP2Header("content-type", "application/grpc")]
    static let successTrailers = [HTTP2Header("grpc-status", "0")]

    /// ``ClusterError/reason`` and, in ms, ``ClusterError/retryAfter``.
    static let reasonTrailer = "covey-reason"
    static let retryAfterTrailer = "covey-retry-after-ms"
    /// ``ClusterError/successor``.
    static let successorTrailer = "covey-successor"

    static func trailers(_ error: ClusterError) -> [HTTP2Header] {
        var trailers = [HTTP2Header("grpc-status", String(error.code.rawValue)), HTTP2Header("grpc-message", percentEncode(error.message))]
        if let reason = error.reason { trailers.append(HTTP2Header(reasonTrailer, reason.rawValue)) }
        if let wait = error.retryAfter { trailers.append(HTTP2Header(retryAfterTrailer, String(Int(min(wait, .seconds(86_400)) / .milliseconds(1))))) }
        if let successor = error.successor { trailers.append(HTTP2Header(successorTrailer, String(successor))) }
        return trailers
    }

    /// What trailers say; `nil` for success.
    static func error(in trailers: [HTTP2Header]) -> ClusterError? {
        let status = trailers["grpc-status"]
        if status == "0" { return nil }
        let code = status.flatMap { Int($0) }.flatMap(ClusterError.Code.init(rawValue:)) ?? .unknown
        return ClusterError(
            code, percentDecode(trailers["grpc-message"] ?? "no message"), reason: trailers[reasonTrailer].flatMap(ClusterError.Reason.init(rawValue:)),
            retryAfter: trailers[retryAfterTrailer].flatMap { Int64($0) }.map { .milliseconds(max(0, min($0, 86_400_000))) },
            successor: trailers[successorTrailer].flatMap { Int($0) })
    }

    /// What an HTTP status without a gRPC status says.
    static func error(httpStatus: String) -> ClusterError {
        let code: ClusterError.Code =
            switch httpStatus {
            case "400": .internal
            case "401": .unauthenticated
            case "403": .permissionDenied
            case "404": .unimplemented
            case "429", "502", "503", "504": .unavailable
            default: .unknown
            }
        return ClusterError(code, "HTTP status \(httpStatus)")
    }

    /// What the reset of a stream says. A refused one was not looked at, so it may be tried again.
    static func error(_ code: HTTP2ErrorCode) -> ClusterError {
        let meaning: ClusterError.Code =
            switch code {
            case .refusedStream: .unavailable
            case .cancel: .cancelled
            case .enhanceYourCalm: .resourceExhausted
            default: .internal
            }
        return ClusterError(meaning, "the peer reset the stream: \(code)")
    }

    /// Longest message that is sent, in bytes before encoding: with the other trailers it stays within a header list.
    static let maximumMessageBytes = 2_048

    package static func percentEncode(_ message: String) -> String {
        var encoded: [UInt8] = []
        for byte in message.utf8.prefix(maximumMessageBytes) {
            if (0x20...0x7e).contains(byte) && byte != UInt8(ascii: "%") {
                encoded.append(byte)
            } else {
                encoded.append(UInt8(ascii: "%"))
                encoded.append(contentsOf: [byte >> 4, byte & 15].map { $0 < 10 ? UInt8(ascii: "0") + $0 : UInt8(ascii: "A") + $0 - 10 })
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }

    /// Broken escapes stand as they are: a message is for people.
    package static func percentDecode(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var decoded: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "%"), index + 2 < bytes.count,
                let value = UInt8(String(decoding: bytes[index + 1...index + 2], as: UTF8.self), radix: 16)
            {
                decoded.append(value)
                index += 3
            } else {
                decoded.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: decoded, as: UTF8.self)
    }

    /// `grpc-timeout`: at most eight digits and a unit; rounded up, so that the server never gives up before the caller.
    package static func timeout(_ remaining: Duration) -> String {
        let (seconds, attoseconds) = remaining.components
        let nanoseconds = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if !nanoseconds.overflow {
            let value = nanoseconds.partialValue + attoseconds / 1_000_000_000
            for (unit, size) in [("n", Int64(1)), ("u", 1_000), ("m", 1_000_000), ("S", 1_000_000_000)] {
                let count = (value + size - 1) / size
                if count <= 99_999_999 { return "\(count)\(unit)" }
            }
        }
        return "\(min(seconds / 3_600, 99_999_999))H"
    }

    /// - Returns: `nil` if the text is not a timeout.
    package static func duration(timeout text: String) -> Duration? {
        guard let unit = text.last, (2...9).contains(text.utf8.count), text.dropLast().utf8.allSatisfy({ (48...57).contains($0) }),
            let count = Int64(text.dropLast())
        else { return nil }
        switch unit {
        case "H": return .seconds(count * 3_600)
        case "M": return .seconds(count * 60)
        case "S": return .seconds(count)
        case "m": return .milliseconds(count)
        case "u": return .microseconds(count)
        case "n": return .nanoseconds(count)
        default: return nil
        }
    }
}
