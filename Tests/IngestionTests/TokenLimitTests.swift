import Embedding
import Foundation
import Ingestion
import Model
import Testing

private let model = NSHomeDirectory() + "/.cache/covey/models/all-MiniLM-L6-v2"

@Suite struct TokenLimitTests {
    /// Counts tokens as the model does, and embeds nothing.
    private struct Counting: Embedder {
        let base: MiniLMEmbedder
        let recorder = RecordingEmbedder(base: WordEmbedder())
        var model: String { base.model }
        var dimension: Int { recorder.dimension }
        var maximumTokens: Int { base.maximumTokens }
        func tokenCount(_ text: String) -> Int { base.tokenCount(text) }
        func embed(_ texts: [String]) async throws(ClusterError) -> [[Float]] { try await recorder.embed(texts) }
    }

    @Test("no text of a real file is longer than the embedded model sees",
        .enabled(if: FileManager.default.fileExists(atPath: model) && FileManager.default.fileExists(atPath: "../shared/data/docs-aks"), "needs the embedded model and ../shared/data"))
    func realTokenizer() async throws {
        let embedder = Counting(base: try MiniLMEmbedder(directory: model, workers: 1))
        for folder in ["docs-aks/docs", "docs-mixed/docs"] {
            for file in DocumentFolder(["../shared/data/\(folder)"]).files {
                let prepared = try await Ingestor(embedder: embedder).prepare([UInt8](try Data(contentsOf: URL(fileURLWithPath: file.path))), name: file.name)
                #expect(prepared.chunks.count > 0)
            }
        }
        let counts = embedder.recorder.texts.map(embedder.tokenCount)
        print("TOKENS texts \(counts.count) mean \(counts.reduce(0, +) / max(1, counts.count)) longest \(counts.max() ?? 0)")
        #expect(counts.allSatisfy { $0 <= 256 })
    }
}
