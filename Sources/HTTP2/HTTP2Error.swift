import CNGHTTP2

/// Why a connection cannot go on, or a call to it made no sense.
package enum HTTP2Error: Error, Hashable, CustomStringConvertible {
    case invalidConfiguration(String)
    /// libnghttp2 refused, with its code and its words: the peer broke the protocol, or memory ran out.
    case library(code: CInt, operation: String)

    package var description: String {
        switch self {
        case .invalidConfiguration(let reason): reason
        case .library(let code, let operation): "\(operation): \(unsafe String(cString: nghttp2_strerror(code)))"
        }
    }
}
