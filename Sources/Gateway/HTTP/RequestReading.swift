import HTTPTypes
import Hummingbird
import Model
import NIOCore

/// Reads what a client sends within the configured bounds.
struct RequestReading: Sendable {
    let configuration: GatewayConfiguration

    /// The body as JSON.
    ///
    /// - Throws: 415 unless it says it is JSON, which also keeps web pages of other origins from posting to a keyless
    ///   gateway unasked; 413, 408 and 400 for one that is too large, too slow, or no JSON.
    func json(_ request: Request, _ context: GatewayContext) async throws -> JSONInput {
        var request = request
        return try await json(keepingBodyIn: &request, context)
    }

    /// The same, and leaves the body in the request: only then can the request be watched for its client's leaving.
    func json(keepingBodyIn request: inout Request, _ context: GatewayContext) async throws -> JSONInput {
        let contentType = request.headers[.contentType]?.lowercased() ?? ""
        let mediaType = contentType.prefix { $0 != ";" }.trimmingSpaces
        guard mediaType == "application/json" || mediaType.hasSuffix("+json") else {
            throw RequestError(.unsupportedMediaType, code: "unsupported_media_type", "content-type must be application/json, found \"\(contentType)\"")
        }
        let bytes = try await bytes(request, context, limit: configuration.maximumBodyBytes, name: "the body")
        request.body = RequestBody(buffer: ByteBuffer(bytes: bytes))
        return try JSONReader.read(bytes)
    }

    /// The body as JSON, or `nil` if there is none.
    func optionalJSON(_ request: Request, _ context: GatewayContext) async throws -> JSONInput? {
        let bytes = try await bytes(request, context, limit: configuration.maximumBodyBytes, name: "the body")
        guard !bytes.isEmpty else { return nil }
        var request = request
        request.body = RequestBody(buffer: ByteBuffer(bytes: bytes))
        return try await json(request, context)
    }

    /// - Throws: 413 naming the limit and the length, as soon as either is known; 408 if it does not arrive in time; 415 if it is compressed.
    func bytes(_ request: Request, _ context: GatewayContext, limit: Int, name: String) async throws -> [UInt8] {
        let limit = min(limit, context.limits.bodyBytes ?? limit)
        if let encoding = request.headers[.contentEncoding], encoding.lowercased() != "identity" {
            throw RequestError(.unsupportedMediaType, code: "unsupported_media_type", "content-encoding \"\(encoding)\" is not supported")
        }
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > limit {
            throw tooLarge(name, "\(length)", limit)
        }
        do {
            let body = request.body
            let buffer = try await withDeadline(.now + configuration.bodyTimeout, name) { try await body.collect(upTo: limit) }
            return Array(buffer.readableBytesView)
        } catch is NIOTooManyBytesError {
            throw tooLarge(name, "more", limit)
        } catch let error as ClusterError where error.code == .deadlineExceeded {
            throw RequestError(.requestTimeout, code: "timeout", "\(name) did not arrive within \(configuration.bodyTimeout)")
        }
    }

    private func tooLarge(_ name: String, _ found: String, _ limit: Int) -> RequestError {
        RequestError(.contentTooLarge, code: "request_too_large", "\(name) has \(found) bytes, the limit is \(limit)")
    }
}

/// The query string, whose parameters are taken one by one like ``JSONFields``: one that nobody took is an error.
struct QueryParameters {
    private var values: [String: String] = [:]

    /// - Throws: 400 for a parameter met twice.
    init(_ request: Request) throws {
        for (name, value) in request.uri.queryParameters {
            guard values.updateValue(String(value), forKey: String(name)) == nil else {
                throw RequestError.invalid(String(name), "query parameter \(name) occurs twice")
            }
        }
    }

    mutating func take(_ name: String) -> String? { values.removeValue(forKey: name) }

    mutating func integer(_ name: String, in range: ClosedRange<Int>) throws -> Int? {
        guard let text = take(name) else { return nil }
        guard let value = Int(text), range.contains(value) else {
            throw RequestError.invalid(name, "\(name) must be \(range.lowerBound)…\(range.upperBound), found \"\(text)\"")
        }
        return value
    }

    mutating func choice(_ name: String, of choices: [String]) throws -> String? {
        guard let text = take(name) else { return nil }
        guard choices.contains(text) else {
            throw RequestError.invalid(name, "\(name) must be \(choices.joined(separator: ", ")), found \"\(text)\"")
        }
        return text
    }

    func finish() throws {
        guard let name = values.keys.min() else { return }
        throw RequestError.invalid(name, "query parameter \(name) is not supported")
    }
}

extension StringProtocol {
    var trimmingSpaces: String {
        var text = Substring(self)
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return String(text)
    }
}
