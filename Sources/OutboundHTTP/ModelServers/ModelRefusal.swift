import Foundation
import Model

/// An error status of a model server, read: what it means to who asked, and whether the same request may succeed later.
///
/// | what comes | ``ClusterError/code`` | ``ClusterError/reason`` |
/// | --- | --- | --- |
/// | `code: content_filter`, or Azure's `innererror.code: ResponsibleAIPolicyViolation` | `invalidArgument` | `contentFilter`, with the categories |
/// | `code: context_length_exceeded`, or the words "maximum context length" | `invalidArgument` | `contextLength` |
/// | 429 | `resourceExhausted` | `rateLimit`; `code: insufficient_quota` is not worth repeating |
/// | 401, 403, 404, 407 | `failedPrecondition` | `modelServer`: key, deployment or proxy are wrong, which is the operator's matter |
/// | 408, 504; 500 and above | `deadlineExceeded`; `unavailable` | |
/// | other | `invalidArgument` | |
package struct ModelRefusal: Sendable {
    package let error: ClusterError
    package let isWorthRepeating: Bool
    /// How long the server asks to wait.
    package let retryAfter: Duration?

    /// - Parameter model: As messages are to call it: `language model gpt-4o`.
    package init(status: Int, headers: HTTPHeaders, body: [UInt8], model: String) {
        let said = try? JSONValue(parsing: body)
        let reported = Self.reported(said)
        let code = reported?["code"]?.string ?? ""
        let words = Self.words(reported, body)
        retryAfter = headers.retryAfter()
        switch status {
        case _ where Self.isContentFilter(reported):
            let found = Self.categories(reported)
            let which = found.isEmpty ? "" : " (\(found.joined(separator: ", ")))"
            error = ClusterError(.invalidArgument, "\(model): the content filter refused the prompt\(which): \(words)", reason: .contentFilter)
            isWorthRepeating = false
        case 400, 413, 422:
            let isTooLong = code == "context_length_exceeded" || words.contains("maximum context length")
            error = ClusterError(.invalidArgument, "\(model) refused the request (\(status)): \(words)", reason: isTooLong ? .contextLength : nil)
            isWorthRepeating = false
        case 401, 403:
            error = ClusterError(.failedPrecondition, "\(model): the server refused the API key (\(status)): \(words)", reason: .modelServer)
            isWorthRepeating = false
        case 404:
            error = ClusterError(.failedPrecondition, "\(model) not found (404): \(words)", reason: .modelServer)
            isWorthRepeating = false
        case 407:
            error = ClusterError(.failedPrecondition, "\(model): the proxy wants other credentials (407)", reason: .modelServer)
            isWorthRepeating = false
        case 408, 504:
            error = ClusterError(.deadlineExceeded, "\(model) timed out (\(status)): \(words)")
            isWorthRepeating = true
        case 429:
            error = ClusterError(.resourceExhausted, "\(model) is at its rate limit (429): \(words)", reason: .rateLimit, retryAfter: retryAfter)
            isWorthRepeating = code != "insufficient_quota" && reported?["type"]?.string != "insufficient_quota"
        case 500...:
            error = ClusterError(.unavailable, "\(model) failed (\(status)): \(words)", retryAfter: retryAfter)
            isWorthRepeating = status != 501 && status != 505
        default:
            error = ClusterError(.invalidArgument, "\(model) refused the request (\(status)): \(words)")
            isWorthRepeating = false
        }
    }

    /// An error within a stream that began well.
    package init(inStream reported: JSONValue, model: String) {
        let words = String((reported["message"]?.string ?? reported.string ?? "no reason given").prefix(500))
        let status = reported["code"]?.integer ?? reported["code"]?.string.flatMap { Int64($0) }
        retryAfter = nil
        isWorthRepeating = false
        if Self.isContentFilter(reported) {
            error = ClusterError(.invalidArgument, "\(model): the content filter ended the reply: \(words)", reason: .contentFilter)
        } else {
            error = switch status {
            case 400: ClusterError(.invalidArgument, "\(model) failed: \(words)")
            case 429: ClusterError(.resourceExhausted, "\(model) failed: \(words)", reason: .rateLimit)
            default: ClusterError(.unavailable, "\(model) failed: \(words)")
            }
        }
    }

    /// `{"error": {…}}`, or without the envelope, as gateways in front of Azure answer: `{"statusCode": 429, "message": "…"}`.
    private static func reported(_ said: JSONValue?) -> JSONValue? {
        guard let said else { return nil }
        if let error = said["error"], error != .null { return error }
        return said["message"] == nil ? nil : said
    }

    private static func words(_ reported: JSONValue?, _ body: [UInt8]) -> String {
        if let text = reported?["message"]?.string ?? reported?.string { return String(text.prefix(500)) }
        let text = String(decoding: body.prefix(500), as: UTF8.self).split(whereSeparator: \.isWhitespace).joined(separator: " ")
        return text.isEmpty ? "no reason given" : text
    }

    private static func isContentFilter(_ reported: JSONValue?) -> Bool {
        reported?["code"]?.string == "content_filter" || inner(reported)?["code"]?.string == "ResponsibleAIPolicyViolation"
    }

    private static func inner(_ reported: JSONValue?) -> JSONValue? { reported?["innererror"] ?? reported?["inner_error"] }

    /// What Azure's filter found, by category and severity: `violence high`.
    private static func categories(_ reported: JSONValue?) -> [String] {
        let results = (inner(reported)?["content_filter_result"] ?? inner(reported)?["content_filter_results"])?.object ?? [:]
        return results.filter { $0.value["filtered"] == true }.sorted { $0.key < $1.key }.map { name, result in
            name + (result["severity"]?.string.map { " \($0)" } ?? "")
        }
    }
}
