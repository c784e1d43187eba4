import Embedding
import Foundation
import Model
import Testing

@Suite("MiniLM", .enabled(if: modelIsCached, "the model is not cached: run cluster/fetch-model"))
struct MiniLMEmbedderTests {
    static let embedder = try! MiniLMEmbedder(directory: modelDirectory, workers: 1)
    private var embedder: MiniLMEmbedder { Self.embedder }

    @Test("agrees with the same float32 weights run by numpy")
    func reference() async throws {
        let vectors = try await embedder.embed(ReferenceText.all.map(\.text))
        for (reference, vector) in zip(ReferenceText.all, vectors) {
            #expect(cosine(vector, reference.floats) >= 0.999999, "\(reference.text.prefix(60))")
        }
    }

    @Test("is near the golden vectors of the int8 model", .enabled(if: goldenIsThere, "no ../shared/data/embedding-golden"))
    func golden() async throws {
        let golden = try goldenTexts()
        let vectors = try await embedder.embed(golden.map(\.text))
        for (golden, vector) in zip(golden, vectors) { #expect(cosine(vector, golden.vector) >= 0.99, "\(golden.text.prefix(60))") }
    }

    @Test("every instruction set gives the same vectors", arguments: EncoderKernels.all.map(\.level))
    func levels(level: EncoderKernels.Level) async throws {
        let embedder = try MiniLMEmbedder(directory: modelDirectory, workers: 1, kernels: try #require(EncoderKernels(level)))
        let vectors = try await embedder.embed(ReferenceText.all.map(\.text))
        for (reference, vector) in zip(ReferenceText.all, vectors) {
            #expect(cosine(vector, reference.floats) >= 0.999999, "\(reference.text.prefix(60))")
        }
        guard goldenIsThere else { return }
        // The portable loops take a tenth of the speed: some of the texts are enough.
        let golden = try goldenTexts().enumerated().filter { $0.offset % 8 == 0 }.map(\.element)
        for (golden, vector) in zip(golden, try await embedder.embed(golden.map(\.text))) {
            #expect(cosine(vector, golden.vector) >= 0.99, "\(golden.text.prefix(60))")
        }
    }

    @Test("vectors have the dimension and unit length, for odd texts too")
    func unitLength() async throws {
        let texts = ["", " ", "\u{0}\u{200B}", "👩‍👩‍👧‍👦", String(repeating: "x", count: 1 << 20), String(repeating: "long text ", count: 100_000), "\u{FFFF}"]
        for vector in try await embedder.embed(texts) {
            #expect(vector.count == 384 && abs(cosine(vector, vector) - 1) < 1e-6)
            #expect(abs(vector.reduce(0) { $0 + Double($1) * Double($1) } - 1) < 1e-5)
        }
        #expect(try await embedder.embed([]) == [])
    }

    @Test("a vector is the same to the last bit whatever shares its batch", arguments: [1, 2] as [UInt64])
    func batching(seed: UInt64) async throws {
        var random = SplitMix64(seed: seed)
        let texts = (0..<60).map { _ in (0..<Int.random(in: 0...80, using: &random)).map { _ in "w\(random.next() % 100)" }.joined(separator: " ") }
        let together = try await embedder.embed(texts)
        for (text, vector) in zip(texts, together) { #expect(try await embedder.embed([text]) == [vector]) }
    }

    @Test("several workers and callers give each caller its vectors in order")
    func concurrency() async throws {
        let embedder = try MiniLMEmbedder(directory: modelDirectory, workers: 3)
        let texts = (0..<40).map { "text number \($0) of many" }
        let expected = try await self.embedder.embed(texts)
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for offset in 0..<8 {
                group.addTask { try await embedder.embed(Array(texts[(offset * 5)...])) == Array(expected[(offset * 5)...]) }
            }
            for try await isEqual in group { #expect(isEqual) }
        }
    }

    @Test("text beyond the queue's bound is refused with the numbers; cancelling frees the caller at once")
    func bounds() async throws {
        let embedder = try MiniLMEmbedder(directory: modelDirectory, workers: 1, maximumQueuedBytes: 100_000)
        let many = Array(repeating: String(repeating: "word ", count: 200), count: 500)
        let long = Task { try await embedder.embed(many) }
        // The second call comes while the first, of some seconds, waits or runs.
        var refusal: ClusterError?
        while refusal == nil {
            do {
                _ = try await embedder.embed(["x"])
                refusal = nil
            } catch {
                refusal = error
            }
        }
        #expect(refusal?.code == .resourceExhausted)
        #expect(refusal?.message.contains("the limit is 100000") == true)
        long.cancel()
        await #expect(throws: ClusterError(.cancelled, "embedding of 500 texts was cancelled")) { try await long.value }
    }

    @Test("counts what the model would read, uncut")
    func counts() {
        for reference in ReferenceText.all { #expect(embedder.tokenCount(reference.text) == reference.count) }
    }

    @Test("a folder without the model is refused by path, no workers by number")
    func refusals() {
        #expect { try MiniLMEmbedder(directory: "/nonexistent", workers: 1) } throws: { "\($0)".contains("/nonexistent/vocab.txt") }
        #expect { try MiniLMEmbedder(directory: modelDirectory, workers: 0) } throws: { "\($0)".contains("0 embedding workers") }
    }

    @Test("benchmark: texts a second", .serialized, arguments: [20, 100, 250])
    func speed(tokens: Int) async throws {
        let isLarge = ProcessInfo.processInfo.environment["BENCHMARK"] == "1"
        let texts = (0..<(isLarge ? 20_000 / tokens : 4)).map { index in
            // The words are one token each; two are the special ones.
            (0..<tokens - 2).map { ["the", "of", "and", "to", "in", "was", "is", "for"][($0 * 7 + index) % 8] }.joined(separator: " ")
        }
        #expect(texts.allSatisfy { embedder.tokenCount($0) == tokens })
        for workers in isLarge ? [1, 2] : [1] {
            let embedder = workers == 1 ? embedder : try MiniLMEmbedder(directory: modelDirectory, workers: workers)
            let start = (wall: ContinuousClock.now, processor: processorSeconds())
            let vectors = try await embedder.embed(texts)
            let seconds = (wall: (ContinuousClock.now - start.wall) / .seconds(1), processor: processorSeconds() - start.processor)
            let checksum = vectors.joined().reduce(0, +)
            print(
                "benchmark: \(tokens) tokens, \(workers) workers: \(Double(texts.count) / seconds.wall) texts/s,",
                "\(Double(texts.count) / seconds.processor) texts per processor second, \(EncoderKernels.best.level), checksum \(checksum)")
        }
    }
}
