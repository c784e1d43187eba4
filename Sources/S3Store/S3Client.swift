import Foundation
import OutboundHTTP
import Storage
import Synchronization

/// One request of S3's API, before it is signed.
struct S3Request: Sendable {
    var method: HTTPRequest.Method
    /// Within the bucket, with the store's prefix; `nil` for the bucket itself.
    var object: String?
    var query: [(String, String)] = []
    /// Names in lower case.
    var headers: [(String, String)] = []
    var body: [UInt8] = []
}

/// A reply that is no success, or none.
struct S3Failure: Error, CustomStringConvertible {
    /// 0 if there was no reply.
    var status = 0
    /// `Code` of the error in the body.
    var code: String?
    var description: String
    /// Whether this attempt or one before it may have taken effect.
    var mayHaveTakenEffect: Bool
}

/// Sends requests to one bucket: signs, repeats what may be repeated, reads errors.
package final class S3Client: Sendable {
    let configuration: S3Configuration
    private let http: HTTPClient
    private let signature: Mutex<RequestSignature>
    private let origin: (url: String, host: String, path: String)
    /// The service's time less this machine's, in seconds: a signature more than 15 minutes off is refused.
    private let clockOffset = Atomic<Int>(0)

    /// Beyond every object that is read whole: an upload has at most 1 GiB.
    private static let maximumResponseBytes = 2 << 30

    init(_ configuration: S3Configuration) {
        self.configuration = configuration
        var client = HTTPClientConfiguration()
        client.maximumConnectionsPerHost = configuration.connections
        client.certificateAuthorityFile = configuration.certificateAuthorityFile
        http = HTTPClient(configuration: client)
        signature = Mutex(RequestSignature(credentials: configuration.credentials, region: configuration.region))
        let scheme = configuration.endpoint.hasPrefix("https://") ? "https://" : "http://"
        let host = String(configuration.endpoint.dropFirst(scheme.count))
        switch configuration.addressing {
        case .path: origin = (scheme + host, host, "/\(configuration.bucket)")
        case .virtualHost: origin = ("\(scheme)\(configuration.bucket).\(host)", "\(configuration.bucket).\(host)", "")
        }
    }

    /// Sends a request until it succeeds, is refused, or has failed as often as it may.
    ///
    /// - Throws: ``S3Failure``; its `mayHaveTakenEffect` covers all attempts.
    func send(_ request: S3Request) async throws(S3Failure) -> HTTPResponse {
        var isUnknown = false
        var random = SystemRandomNumberGenerator()
        var (isClockSet, areCredentialsRead) = (false, false)
        let bodyHash = hex(sha256(request.body))
        for attempt in 1... {
            var failure: S3Failure
            let verdict: RetryRule.Verdict
            let signature = signature.withLock { $0 }
            do throws(HTTPClientError) {
                let response = try await http.send(signed(request, bodyHash: bodyHash, by: signature))
                if response.isSuccess && !isErrorInside(response) { return response }
                failure = describe(response, to: request)
                if failure.code == "RequestTimeTooSkewed", !isClockSet, let now = response.headers["Date"].flatMap(Self.seconds(httpDate:)) {
                    isClockSet = true
                    clockOffset.store(now - Int(Date().timeIntervalSince1970), ordering: .relaxed)
                    continue
                }
                if RetryRule.isOfCredentials(failure.code), !areCredentialsRead {
                    areCredentialsRead = true
                    if areReplaced(signature.credentials) { continue }
                }
                // An error behind status 200: what was begun did not end.
                verdict = response.isSuccess ? .unknown : RetryRule.verdict(status: response.status, code: failure.code)
            } catch {
                failure = S3Failure(description: "\(configuration.endpoint): \(error)", mayHaveTakenEffect: false)
                guard RetryRule.mayPass(error) else {
                    failure.mayHaveTakenEffect = isUnknown || RetryRule.verdict(error) == .unknown
                    throw failure
                }
                verdict = RetryRule.verdict(error)
            }
            isUnknown = isUnknown || verdict == .unknown
            failure.mayHaveTakenEffect = isUnknown
            guard verdict != .refused, attempt < configuration.attempts, !Task.isCancelled else { throw failure }
            let pause = RetryRule.pause(after: attempt, first: configuration.firstPause, longest: configuration.longestPause, random: &random)
            try? await Task.sleep(for: pause)
        }
        preconditionFailure("an attempt neither returned nor threw")
    }

    /// Whether there are other credentials than these, which the service refused; then they are used from now on.
    private func areReplaced(_ refused: S3Credentials) -> Bool {
        let read = try? configuration.readCredentials?()
        return signature.withLock { signature in
            if let read { signature.credentials = read }
            return signature.credentials != refused
        }
    }

    private func signed(_ request: S3Request, bodyHash: String, by signature: RequestSignature) -> HTTPRequest {
        let path = origin.path + "/" + (request.object ?? "")
        let date = RequestSignature.date(secondsSince1970: Int(Date().timeIntervalSince1970) + clockOffset.load(ordering: .relaxed))
        var headers = request.headers + [("host", origin.host), ("x-amz-content-sha256", bodyHash), ("x-amz-date", date)]
        if let token = signature.credentials.sessionToken { headers.append(("x-amz-security-token", token)) }
        let authorization = signature.authorization(
            method: request.method.rawValue, path: path, query: request.query, headers: headers, bodyHash: bodyHash, date: date)
        let query = RequestSignature.canonicalQuery(request.query)
        var http = HTTPRequest(request.method, origin.url + path + (query.isEmpty ? "" : "?" + query), body: request.body)
        for (name, value) in headers { http.headers.add(name, value) }
        http.headers.add("authorization", authorization)
        http.headers.add("content-type", "application/octet-stream")
        http.timeout = configuration.timeout
        http.idleTimeout = nil
        http.connectTimeout = configuration.connectTimeout
        http.maximumResponseBytes = Self.maximumResponseBytes
        return http
    }

    /// Some requests are answered 200 before they are done, so their errors come in the body.
    private func isErrorInside(_ response: HTTPResponse) -> Bool {
        guard response.body.count < 4_096, response.body.starts(with: "<".utf8) else { return false }
        return XMLElement(decoding: response.body)?.name == "Error"
    }

    private func describe(_ response: HTTPResponse, to request: S3Request) -> S3Failure {
        let error = XMLElement(decoding: response.body).flatMap { $0.name == "Error" ? $0 : nil }
        let code = error?.text("Code")
        let words = [code, error?.text("Message")].compactMap(\.self).joined(separator: ": ")
        let what = "\(request.method.rawValue) s3://\(configuration.bucket)/\(request.object ?? "")"
        return S3Failure(
            // Who answers without S3's error is not S3: something in front of it. Only HEAD has no body that could tell.
            status: response.status, code: code ?? (request.method == .head ? nil : ""),
            description: "\(configuration.endpoint) answered \(what) with status \(response.status)\(words.isEmpty ? "" : " (\(words))")",
            mayHaveTakenEffect: false)
    }

    /// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`.
    package static func seconds(httpDate text: String) -> Int? {
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let words = text.split(whereSeparator: { $0 == " " || $0 == ":" })
        guard words.count == 8, let month = months.firstIndex(of: String(words[2])) else { return nil }
        let numbers = [words[1], words[3], words[4], words[5], words[6]].compactMap { Int32($0) }
        guard numbers.count == 5 else { return nil }
        var parts = unsafe tm()
        unsafe (parts.tm_mday, parts.tm_mon, parts.tm_year) = (numbers[0], CInt(month), numbers[1] - 1_900)
        unsafe (parts.tm_hour, parts.tm_min, parts.tm_sec) = (numbers[2], numbers[3], numbers[4])
        return unsafe timegm(&parts)
    }
}
