import Gateway
import Model
import Transport

extension FuzzTarget {
    static let gateway: [FuzzTarget] = [
        FuzzTarget("json-routes", seeds: routes.enumerated().flatMap { index, route in route.seeds.map { [UInt8(index)] + Array($0.utf8) } }) { bytes in
            guard let (index, rest) = choice(bytes, of: routes.count), let input = try? JSONReader.read(rest) else { return }
            try? routes[index].read(input)
        },
        FuzzTarget(
            "multipart",
            seeds: [Array("x\0--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.md\"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x--\r\n".utf8)]
        ) { bytes in
            let end = bytes.firstIndex(of: 0) ?? 0
            let boundary = String(decoding: bytes[..<end], as: UTF8.self)
            _ = try? MultipartForm(Array(bytes[min(bytes.count, end + 1)...]), contentType: "multipart/form-data; boundary=\(boundary)")
        },
        FuzzTarget("forwarded-for", seeds: ["1.1.1.1, 192.0.2.1 ,10.0.0.2", "[2001:db8::1]:80", "192.0.2.1:4711,,unknown", "::ffff:10.0.0.1", "10.0.0.0/8"].map { Array($0.utf8) }) { bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            let (proxies, proxy) = (TrustedProxies([try! IPAddressRange("10.0.0.0/8")]), IPAddress("10.0.0.1")!)
            let client = proxies.client(of: proxy, forwardedFor: text)
            precondition(IPAddress(client.description) == client, "\(client) is read as another")
            if !proxies.contains(client) {
                precondition(proxies.client(of: proxy, forwardedFor: "198.51.100.1, \(text)") == client, "what stands before \(client) counts")
            }
            precondition(proxies.client(of: IPAddress("192.0.2.9")!, forwardedFor: text) == IPAddress("192.0.2.9"))
            if let range = try? IPAddressRange(text) { precondition(range.contains(range.first), "\(text) does not contain its first") }
        },
    ]

    private struct Route: Sendable {
        let seeds: [String]
        let read: @Sendable (JSONInput) throws -> Void
    }

    private static let routes: [Route] = [
        Route(seeds: [#"{"must": [{"key": "n", "match": {"value": 5}}, {"has_id": [7]}], "should": [{"key": "n", "range": {"gt": 4, "lte": 5.0}}], "must_not": {"is_null": {"key": "g"}}}"#]) {
            _ = try QdrantFilter.read($0, at: "filter").passes(id: .integer(7), payload: ["n": 5, "tags": ["a"]])
        },
        Route(seeds: [#"{"type": "or", "filters": [{"type": "eq", "key": "topic", "value": "x"}, {"type": "nin", "key": "year", "value": [1, 2020]}]}"#]) {
            _ = try AttributeFilter.read($0, at: "filters").passes(id: .integer(7), payload: ["attributes": ["year": 2020]])
        },
        Route(seeds: [#"{"query": [0.5, 1], "limit": 3, "offset": 1, "filter": {"must": []}, "params": {"exact": true}, "with_payload": ["a"], "with_vector": true, "score_threshold": 0.5, "covey": {"explain": [1]}}"#]) {
            var fields = try JSONFields($0)
            _ = try QdrantQuery(&fields, maximumLimit: 10_000, partial: .degrade)
        },
        Route(seeds: [#"{"points": [{"id": 1, "vector": [1, 2], "payload": {"a": [1]}}]}"#, #"{"batch": {"ids": [1], "vectors": [[1, 2]], "payloads": [null]}}"#]) {
            var fields = try JSONFields($0)
            _ = try QdrantPoints.take(from: &fields, maximumCount: 100)
        },
        Route(seeds: [#"{"model": "m", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "q"}]}], "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 5, "temperature": 0.5, "covey": {"partial": "fail"}}"#]) {
            _ = try ChatRequest($0, sources: 8, partial: .degrade)
        },
    ]
}

extension FuzzTarget {
    static let grpc: [FuzzTarget] = [
        FuzzTarget("grpc", seeds: [[0, 0, 0, 0, 2, 8, 7], [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9]]) { bytes in
            let whole = messages(bytes, piece: .max)
            for piece in [1, 3, 6] {
                let cut = messages(bytes, piece: piece)
                precondition(cut.error == whole.error, "cut into \(piece): \(cut.error ?? "no error"), whole: \(whole.error ?? "no error")")
                precondition(whole.error != nil || cut.messages == whole.messages, "cut into \(piece), other messages")
            }
        },
    ]
}

private func messages(_ bytes: [UInt8], piece: Int) -> (messages: [[UInt8]], error: String?) {
    var assembler = MessageAssembler(limit: 1_000)
    var messages: [[UInt8]] = []
    var rest = bytes[...]
    do throws(ClusterError) {
        while !rest.isEmpty {
            let chunk = Array(rest.prefix(piece))
            rest = rest.dropFirst(chunk.count)
            try assembler.append(chunk.span.bytes, to: &messages)
        }
    } catch { return (messages, "\(error)") }
    return (messages, nil)
}
