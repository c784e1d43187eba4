import Foundation
import Generation
import Model
import OutboundHTTP
import TestServers
import Testing

/// The whole way through a real server and a real, very small model. It asserts what our code guarantees, not the model's wording.
@Suite struct LlamaServerTests {
    private static let cache: URL = {
        let environment = ProcessInfo.processInfo.environment
        if let folder = environment["COVEY_CACHE"] { return URL(filePath: folder) }
        let base = environment["XDG_CACHE_HOME"].map { URL(filePath: $0) } ?? FileManager.default.homeDirectoryForCurrentUser.appending(path: ".cache")
        return base.appending(path: "covey")
    }()
    private static let model = cache.appending(path: "models/SmolLM2-135M-Instruct-Q8_0.gguf")
    private static let program: URL? = {
        let folders = (try? FileManager.default.contentsOfDirectory(at: cache, includingPropertiesForKeys: nil)) ?? []
        return folders.map { $0.appending(path: "llama-server") }.first { FileManager.default.isExecutableFile(atPath: $0.path) }
    }()
    private static let isThere = program != nil && FileManager.default.fileExists(atPath: model.path)

    @Test(
        "answers through llama-server, with its counts and only given citations",
        .enabled(if: isThere, "llama-server is not built: run cluster/fetch-llm"), .timeLimit(.minutes(3)))
    func answers() async throws {
        let port = try await StubServer.freePort()
        let process = Process()
        process.executableURL = Self.program
        process.arguments = [
            "-m", Self.model.path, "--host", "127.0.0.1", "--port", "\(port)", "--offline", "-np", "1", "-c", "4096", "-t", "1", "--api-key", "right",
        ]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        defer {
            // A child started from a task's thread inherits blocked signals, SIGTERM among them; SIGKILL cannot be blocked.
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
        let client = HTTPClient()
        while (try? await client.send(HTTPRequest(.get, "http://127.0.0.1:\(port)/health")))?.isSuccess != true {
            try #require(process.isRunning)
            // Another process gives no sign when it is ready: ask again.
            try await Task.sleep(for: .milliseconds(100))
        }
        func model(key: String) -> RemoteLanguageModel {
            RemoteLanguageModel(client: client, configuration: .init(endpoint: ModelEndpoint(base: "http://127.0.0.1:\(port)/v1", credential: .key(key)), model: "SmolLM2"))
        }
        let request = AnswerRequest(
            question: "When did the 1973 oil crisis begin?",
            sources: [
                Source("The 1973 oil crisis began in October 1973 when OAPEC proclaimed an oil embargo.", title: "1973 oil crisis"),
                Source("The dome of the observatory is a museum today.", title: "Kestrel Hill"),
            ], options: AnswerOptions(maximumTokens: 40, showPrompt: true))

        let collected = try await Generator(model: model(key: "right")).collect(request)
        let summary = try #require(collected.summary)
        #expect(summary.model == "SmolLM2" && !collected.text.isEmpty)
        #expect((1...40).contains(summary.completionTokens))
        #expect(summary.citations.allSatisfy { (1...2).contains($0.source) })
        // The estimate that keeps prompts within budget errs on the high side, for this tokenizer too.
        let prompt = try #require(collected.prompt)
        #expect(summary.promptTokens > 100 && summary.promptTokens <= TokenEstimate.count(prompt) + 3 * PromptBuilder.messageTokens)

        var strict = GenerationConfiguration()
        strict.fallbackToExtractive = false
        let error = await #expect(throws: ClusterError.self) { try await Generator(model: model(key: "wrong"), configuration: strict).collect(request) }
        #expect(error?.code == .failedPrecondition && error?.message.contains("API key (401)") == true)
    }
}
