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
        try checkMediaType(request)
        return try JSONReader.read(try await bytes(request, context, limit: configuration.maximumBodyBytes, name: "the body"))
    }

    /// The same, and leaves the body in the request: only then can the request be watched for its client's leaving.
    func json(keepingBodyIn request: inout Request, _ context: GatewayContext) async throws -> JSONInput {
        try checkMediaType(request)
        let bytes = try await bytes(request, context, limit: configuration.maximumBodyBytes, name: "the body")
        request.body = RequestBody(buffer: ByteBuffer(bytes: bytes))
        return try JSONReader.read(bytes)
    }

    private func checkMediaType(_ request: Request) throws {
        let contentType = request.headers[.contentType]?.lowercased() ?? ""
        let mediaType = contentType.prefix { $0 != ";" }.trimmingSpaces
        guard mediaType == "application/json" || mediaType.hasSuffix("+json") else {
            throw RequestError(.unsupportedMediaType, code: "unsupported_media_type", "content-type must be application/json, found \"\(contentType)\"")
        }
    }

    /// The body as JSON, or `nil` if there is none.
    func optionalJSON(_ request: Request, _ context: GatewayContext) async throws -> JSONInput? {
        let bytes = try await bytes(request, context, limit: configuration.maximumBodyBytes, name: "the body")
        guard !bytes.isEmpty else { return nil }
        try checkMediaType(request)
        return try JSONReader.read(bytes)
    }

    /// - Throws: 413 naming the limit and the length, as soon as either is known; 408 if it does not arrive in time; 415 if it is compressed.
    func bytes(_ request: Request, _ context: GatewayContext, limit: Int, name: String) async throws -> [UInt8] {
        let limit = min(limit, context.limits.bodyBytes ?? limit)
        let length = try await length(request, limit: limit, name: name)
        context.invite(bodyOf: request)
        do {
            let body = request.body
            return try await withDeadline(.now + configuration.bodyTimeout, name) {
                var bytes: [UInt8] = []
                bytes.reserveCapacity(length ?? 0)
                for try await piece in body {
                    guard bytes.count + piece.readableBytes <= limit else { throw tooLarge(name, "more", limit) }
                    unsafe piece.withUnsafeReadableBytes { unsafe bytes.append(contentsOf: $0) }
                }
                return bytes
            }
        } catch let error as ClusterError where error.code == .deadlineExceeded {
            throw RequestError(.requestTimeout, code: "timeout", "\(name) did not arrive within \(configuration.bodyTimeout)")
        }
    }

    /// The body piece by piece as it arrives, at most `limit` bytes of it in all; `receive` takes each before the next is read.
    ///
    /// - Throws: As ``bytes(_:limit:name:)``, with time for the body in proportion to its length; what `receive` throws, once the rest of
    ///   the body has come: a client that is still writing reads no answer.
    func pieces(
        of request: Request, _ context: GatewayContext, limit: Int, name: String, _ receive: @escaping @Sendable (ByteBuffer) async throws -> Void
    ) async throws {
        try checkMediaType(request)
        let limit = min(limit, context.limits.bodyBytes ?? limit)
        let length = try await length(request, limit: limit, name: name) ?? limit
        context.invite(bodyOf: request)
        let time = min(configuration.maximumTimeout, max(configuration.bodyTimeout, configuration.bodyTimeout * (Double(length) / Double(configuration.maximumBodyBytes))))
        do {
            let body = request.body
            try await withDeadline(.now + time, name) {
                var count = 0
                var failure: (any Error)?
                for try await piece in Arriving(body: body, name: name) {
                    count += piece.readableBytes
                    guard count <= limit else { throw tooLarge(name, "more", limit) }
                    guard failure == nil else { continue }
                    do { try await receive(piece) } catch { failure = error }
                    try Task.checkCancellation()
                }
                if let failure { throw failure }
            }
        } catch let error as ClusterError where error.code == .deadlineExceeded && error.message.hasPrefix(name) {
            throw RequestError(.requestTimeout, code: "timeout", "\(name) did not arrive within \(time)")
        }
    }

    /// - Throws: 415 if the body is compressed, 413 if it says that it is too large.
    private func length(_ request: Request, limit: Int, name: String) async throws -> Int? {
        if let encoding = request.headers[.contentEncoding], encoding.lowercased() != "identity" {
            throw RequestError(.unsupportedMediaType, code: "unsupported_media_type", "content-encoding \"\(encoding)\" is not supported")
        }
        let length = request.headers[.contentLength].flatMap { Int($0) }
        if let length, length > limit {
            if request.headers[.connection] == "close", !request.expectsContinue { await discard(request) }
            throw tooLarge(name, "\(length)", limit)
        }
        return length
    }

    /// Reads a body that is refused: behind the answer of a connection that is to be closed nobody would, and a client that writes its whole
    /// body before it reads would never see why.
    private func discard(_ request: Request) async {
        let body = request.body
        try? await withDeadline(.now + configuration.bodyTimeout, "the body") { for try await _ in body {} }
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

/// A body whose breaking off is the client's doing, and said so.
private struct Arriving: AsyncSequence {
    let body: RequestBody
    let name: String

    struct AsyncIterator: AsyncIteratorProtocol {
        var iterator: RequestBody.AsyncIterator
        let name: String

        mutating func next() async throws -> ByteBuffer? {
            do { return try await iterator.next() } catch let error as CancellationError { throw error } catch {
                throw RequestError(.badRequest, code: "incomplete_body", "\(name) broke off before its end")
            }
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(iterator: body.makeAsyncIterator(), name: name) }
}
