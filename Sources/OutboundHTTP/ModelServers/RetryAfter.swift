import CCurl
import Foundation

extension HTTPHeaders {
    /// How long a server asks to wait before the next request: `retry-after-ms`, which OpenAI and Azure send beside it, else `Retry-After` in seconds
    /// or as a date; zero for one that is past. `nil` if it says nothing that can be read.
    ///
    /// - SeeAlso: RFC 9110, 10.2.3.
    package func retryAfter(at now: Date = Date()) -> Duration? {
        if let text = self["retry-after-ms"], let milliseconds = Double(text), milliseconds >= 0 { return Self.duration(milliseconds / 1_000) }
        guard let text = self["retry-after"] else { return nil }
        if let seconds = Double(text) { return seconds >= 0 ? Self.duration(seconds) : nil }
        let time = unsafe curl_getdate(text, nil)
        return time < 0 ? nil : Self.duration(max(0, Double(time) - now.timeIntervalSince1970))
    }

    /// - Parameter seconds: Anything; more than a hundred days is as good as for ever.
    private static func duration(_ seconds: Double) -> Duration? { seconds.isFinite ? .seconds(min(seconds, 1e7)) : nil }
}
