import Foundation
import Model
import OutboundHTTP
import Testing

@Suite struct ModelEndpointTests {
    @Test(
        "where an operation is",
        arguments: [
            (ModelEndpoint(base: "https://api.openai.com/v1"), "https://api.openai.com/v1/embeddings"),
            (ModelEndpoint(base: "http://h/v1/?a=b"), "http://h/v1/embeddings?a=b"),
            (ModelEndpoint(base: "https://n.openai.azure.com/", api: .azure(deployment: "d", version: "2024-10-21")),
                "https://n.openai.azure.com/openai/deployments/d/embeddings?api-version=2024-10-21"),
            (ModelEndpoint(base: "https://n.openai.azure.com/openai", api: .azure(deployment: "d", version: "v")),
                "https://n.openai.azure.com/openai/deployments/d/embeddings?api-version=v"),
            (ModelEndpoint(base: "https://gateway/azure?x=1", api: .azure(deployment: "d", version: "v")),
                "https://gateway/azure/openai/deployments/d/embeddings?x=1&api-version=v"),
        ])
    func url(endpoint: ModelEndpoint, expected: String) { #expect(endpoint.url("embeddings") == expected) }

    @Test("who asks")
    func authorization() throws {
        var endpoint = ModelEndpoint(base: "http://h")
        #expect(try endpoint.authorization().fields.isEmpty)
        endpoint.credential = .key("k")
        #expect(try endpoint.authorization().fields .map { "\($0.name): \($0.value)" } == ["Authorization: Bearer k"])
        endpoint.api = .azure(deployment: "d", version: "v")
        #expect(try endpoint.authorization().fields .map { "\($0.name): \($0.value)" } == ["api-key: k"])
        endpoint.credential = .key("k", header: "Ocp-Apim-Subscription-Key")
        #expect(try endpoint.authorization()["ocp-apim-subscription-key"] == "k")
        endpoint.credential = .token("t")
        #expect(try endpoint.authorization()["authorization"] == "Bearer t")
        let file = FileManager.default.temporaryDirectory.appending(path: "covey-token-\(UUID())")
        endpoint.credential = .tokenFile(file.path)
        #expect(throws: ClusterError.self) { try endpoint.authorization() }
        defer { try? FileManager.default.removeItem(at: file) }
        for text in ["first\n", "second"] {
            try text.write(to: file, atomically: true, encoding: .utf8)
            #expect(try endpoint.authorization()["authorization"] == "Bearer \(text.trimmingCharacters(in: .newlines))")
        }
        try "two words".write(to: file, atomically: true, encoding: .utf8)
        let error = #expect(throws: ClusterError.self) { try endpoint.authorization() }
        #expect(error?.reason == .modelServer && error?.message.contains("found 2 words") == true)
    }
}

@Suite struct RetryAfterTests {
    /// 2026-11-28 12:00:00 UTC.
    private let now = Date(timeIntervalSince1970: 1_795_867_200)

    @Test(
        "seconds, milliseconds, the three forms of a date, and what is none of them",
        arguments: [
            (["retry-after": "7"], .seconds(7)), (["Retry-After": "0.5"], .milliseconds(500)), (["retry-after": "7", "retry-after-ms": "250"], .milliseconds(250)),
            (["retry-after": "Sat, 28 Nov 2026 12:00:30 GMT"], .seconds(30)), (["retry-after": "Saturday, 28-Nov-26 12:00:30 GMT"], .seconds(30)),
            (["retry-after": "Sat Nov 28 12:00:30 2026"], .seconds(30)), (["retry-after": "Sat, 28 Nov 2026 11:00:00 GMT"], .zero),
            (["retry-after": "1e300"], .seconds(1e7)), (["retry-after": "-3"], nil), (["retry-after": "nan"], nil), (["retry-after": "soon"], nil), ([:], nil),
        ] as [(HTTPHeaders, Duration?)])
    func forms(headers: HTTPHeaders, expected: Duration?) { #expect(headers.retryAfter(at: now) == expected) }
}

@Suite struct ModelRefusalTests {
    private func refusal(_ status: Int, _ body: String, _ headers: HTTPHeaders = [:]) -> ModelRefusal {
        ModelRefusal(status: status, headers: headers, body: Array(body.utf8), model: "model m")
    }

    @Test("Azure's content filter is named with what it found")
    func contentFilter() {
        let body = #"""
            {"error": {"message": "The response was filtered.", "type": null, "param": "prompt", "code": "content_filter", "status": 400, "innererror":
            {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"violence": {"filtered": true, "severity": "high"},
            "hate": {"filtered": false, "severity": "safe"}, "jailbreak": {"detected": true, "filtered": true}}}}}
            """#
        let refusal = refusal(400, body)
        #expect(refusal.error.reason == .contentFilter && refusal.error.code == .invalidArgument && !refusal.isWorthRepeating)
        #expect(refusal.error.message == "model m: the content filter refused the prompt (jailbreak, violence high): The response was filtered.")
        let bare = self.refusal(400, #"{"error": {"inner_error": {"code": "ResponsibleAIPolicyViolation"}, "message": "no"}}"#)
        #expect(bare.error.reason == .contentFilter && bare.error.message == "model m: the content filter refused the prompt: no")
    }

    @Test(
        "what each status means",
        arguments: [
            (400, #"{"error": {"code": "context_length_exceeded", "message": "too long"}}"#, ClusterError.Code.invalidArgument, .contextLength, false),
            (400, #"{"error": {"code": null, "message": "This model's maximum context length is 8192 tokens"}}"#, .invalidArgument, .contextLength, false),
            (400, "nonsense", .invalidArgument, nil, false), (401, "{}", .failedPrecondition, .modelServer, false), (403, "", .failedPrecondition, .modelServer, false),
            (404, #"{"error": {"code": "DeploymentNotFound", "message": "x"}}"#, .failedPrecondition, .modelServer, false),
            (407, "", .failedPrecondition, .modelServer, false), (408, "", .deadlineExceeded, nil, true), (429, "", .resourceExhausted, .rateLimit, true),
            (429, #"{"error": {"code": "insufficient_quota", "message": "x"}}"#, .resourceExhausted, .rateLimit, false),
            (429, #"{"statusCode": 429, "message": "Rate limit is exceeded. Try again in 6 seconds."}"#, .resourceExhausted, .rateLimit, true),
            (500, "", .unavailable, nil, true), (501, "", .unavailable, nil, false), (503, "", .unavailable, nil, true), (504, "", .deadlineExceeded, nil, true),
            (302, "", .invalidArgument, nil, false),
        ] as [(Int, String, ClusterError.Code, ClusterError.Reason?, Bool)])
    func statuses(status: Int, body: String, code: ClusterError.Code, reason: ClusterError.Reason?, isWorthRepeating: Bool) {
        let refusal = refusal(status, body, ["retry-after": "6"])
        #expect(refusal.error.code == code && refusal.error.reason == reason && refusal.isWorthRepeating == isWorthRepeating)
        #expect(refusal.retryAfter == .seconds(6))
        #expect(refusal.error.message.hasPrefix("model m"))
    }

    @Test("a long body is cut, a gateway's plain one is read")
    func words() {
        #expect(refusal(500, String(repeating: "x", count: 10_000)).error.message.utf8.count < 600)
        #expect(refusal(429, #"{"statusCode": 429, "message": "Rate limit is exceeded."}"#).error.message.hasSuffix("Rate limit is exceeded."))
    }
}
