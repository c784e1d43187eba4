/// One request to another server.
package struct HTTPRequest: Sendable {
    package enum Method: String, Sendable {
        case get = "GET"
        case head = "HEAD"
        case post = "POST"
        case put = "PUT"
        case patch = "PATCH"
        case delete = "DELETE"
    }

    package var method: Method
    /// An absolute `http` or `https` URL.
    package var url: String
    package var headers: HTTPHeaders
    package var body: [UInt8]
    /// Time for everything, waiting for a free connection included; `nil`: no limit. Default: 30 s.
    package var timeout: Duration? = .seconds(30)
    /// Time for name look-up, TCP and TLS. Default: 5 s.
    package var connectTimeout: Duration = .seconds(5)
    /// The longest silence: no byte sent or received; a reader that holds the body back does not count. Default: 60 s,
    /// well above the time a small model takes for a long prompt.
    package var idleTimeout: Duration? = .seconds(60)
    /// A longer response body is an error, so a broken server cannot fill the memory. Default: 64 MiB.
    package var maximumResponseBytes: Int = 64 << 20

    package init(_ method: Method = .get, _ url: String, headers: HTTPHeaders = [:], body: [UInt8] = []) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
    }
}

/// A whole response. Any status is a response, not an error.
package struct HTTPResponse: Sendable {
    package var status: Int
    package var headers: HTTPHeaders
    package var body: [UInt8]

    package var isSuccess: Bool { (200..<300).contains(status) }
}
