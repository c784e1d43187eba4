import HTTP2
import Model
import S3Store
import Wire

extension FuzzTarget {
    static let network: [FuzzTarget] = [
        FuzzTarget("http2-server", seeds: [[3] + clientHello() + request(), [1] + clientHello() + request() + [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8]]) { bytes in
            guard let first = bytes.first else { return }
            converse(.server, Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + bytes.dropFirst(), piece: pieces[Int(first) % pieces.count])
        },
        FuzzTarget("http2-client", seeds: [[3] + clientHello() + reply()]) { bytes in
            guard let first = bytes.first else { return }
            converse(.client, Array(bytes.dropFirst()), piece: pieces[Int(first) % pieces.count])
        },
        FuzzTarget("wire-requests", seeds: wireRequests.indices.map { [UInt8($0)] }) { bytes in
            guard let (index, rest) = choice(bytes, of: wireRequests.count) else { return }
            wireRequests[index](rest)
        },
        FuzzTarget("wire-replies", seeds: wireReplies.indices.map { [UInt8($0)] }) { bytes in
            guard let (index, rest) = choice(bytes, of: wireReplies.count) else { return }
            wireReplies[index](rest)
        },
        FuzzTarget(
            "s3-xml", seeds: [Array("<ListBucketResult xmlns=\"x\"><Key>a</Key><IsTruncated>false</IsTruncated><Contents><Key>b</Key></Contents></ListBucketResult>".utf8)]
        ) { bytes in
            guard let root = XMLElement(decoding: bytes) else { return }
            _ = root.text("Key")
        },
    ]

    private static let pieces = [Int.max, 1, 7, 100]
}

private func clientHello() -> [UInt8] { [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0] }
private func request() -> [UInt8] { [0, 0, 6, 1, 4, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x01, 1, 0x61, 0, 0, 3, 0, 1, 0, 0, 0, 1, 1, 2, 3] }
private func reply() -> [UInt8] { [0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88, 0, 0, 3, 0, 0, 0, 0, 0, 1, 1, 2, 3, 0, 0, 4, 1, 5, 0, 0, 0, 1, 0x40, 1, 0x61, 0] }

/// One end of a connection that answers whatever it is asked.
private func converse(_ role: HTTP2Session.Role, _ input: [UInt8], piece: Int) {
    guard var session = try? HTTP2Session(role) else { return }
    let head = [HTTP2Header(":method", "POST"), HTTP2Header(":scheme", "http"), HTTP2Header(":path", "/"), HTTP2Header(":authority", "a")]
    if role == .client {
        for _ in 0..<2 { _ = try? session.request(head, body: [[1, 2, 3]]) }
    }
    var answered: Set<HTTP2StreamID> = []
    do {
        _ = try session.send(limit: 1 << 16) { _ in }
        var rest = input[...]
        while !rest.isEmpty {
            let chunk = Array(rest.prefix(piece))
            rest = rest.dropFirst(chunk.count)
            for event in try session.receive(chunk.span.bytes) {
                switch event {
                case .headers(let stream, let headers, _):
                    _ = headers.isAuthorityMalformed
                    if role == .server, answered.insert(stream).inserted {
                        try session.respond(stream, [HTTP2Header(":status", "200")], body: [[UInt8](repeating: 1, count: 100)], trailers: [HTTP2Header("a", "b")])
                    }
                case .headerListTooLarge(let stream, _, _): session.reset(stream, .cancel)
                case .data(let stream, let range):
                    precondition(range.lowerBound >= 0 && range.upperBound <= chunk.count, "data at \(range) of \(chunk.count)")
                    session.consumeOnConnection(range.count)
                    session.consume(range.count, of: stream)
                default: break
                }
            }
            _ = try session.send(limit: 1 << 16) { _ in }
            precondition(session.pendingBytes >= 0)
            _ = session.takeStalled(minimumBytes: 10)
            if session.isOver { return }
        }
    } catch {}
}

/// What is read and written again is read as the same: compared as bytes, for not a number is not equal to itself.
private func request<Request: WireRequest>(_ type: Request.Type) -> @Sendable ([UInt8]) -> Void {
    { bytes in
        guard let (request, tenant) = try? Request.decode(bytes), let written = try? request.encoded(for: tenant) else { return }
        guard let (again, same) = try? Request.decode(written) else { fatalError("\(type) is not read as it was written: \(request)") }
        precondition(same == tenant && (try? again.encoded(for: tenant))?.count == written.count, "\(type) changes: \(request), \(again)")
    }
}

private func reply<Reply: WireValue>(_ type: Reply.Type) -> @Sendable ([UInt8]) -> Void {
    { bytes in
        guard let reply = try? Reply(decoding: bytes), let written = try? reply.encoded() else { return }
        guard let again = try? Reply(decoding: written) else { fatalError("\(type) is not read as it was written: \(reply)") }
        precondition((try? again.encoded())?.count == written.count, "\(type) changes: \(reply), \(again)")
    }
}

private let wireRequests = [
    request(AppendRequest.self), request(SearchRequest.self), request(ExplainRequest.self), request(FetchRequest.self), request(CountRequest.self), request(StatusRequest.self),
    request(SealRequest.self), request(DropRequest.self), request(FollowRequest.self), request(AnswerRequest.self), request(OutlineRequest.self),
]
private let wireReplies = [
    reply(AppendReply.self), reply(SearchReply.self), reply(ExplainReply.self), reply(FetchReply.self), reply(CountReply.self), reply(StatusReply.self), reply(SealReply.self),
    reply(AnswerEvent.self), reply(OutlineReply.self),
]
