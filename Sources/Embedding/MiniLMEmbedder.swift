import Foundation
import Model

/// The embedded default: all-MiniLM-L6-v2 in this process, on worker threads of its own.
///
/// Float32 throughout. About 50 MB of memory for the weights and 4 MB a worker, whatever the texts. English; other languages
/// get vectors too, but poor ones.
package final class MiniLMEmbedder: Embedder {
    package let model = "all-MiniLM-L6-v2"
    package let dimension = EncoderShape.miniLM.hidden
    /// What the model's authors evaluate it with; its position table reaches to 512, its training does not.
    package let maximumTokens = 256
    package let tokenizer: WordPieceTokenizer
    private let workers: EmbeddingWorkers

    /// - Parameters:
    ///   - directory: Holds `model.safetensors` and `vocab.txt`.
    ///   - workers: Threads; each embeds at the speed of one core.
    ///   - maximumQueuedBytes: Text waiting for a worker beyond which calls are refused. Default: 64 MiB.
    ///   - kernels: Default: the fastest that this processor runs.
    /// - Throws: `notFound` for a missing file, `dataLoss` for a damaged one, with its path.
    package init(
        directory: String, workers: Int, maximumQueuedBytes: Int = 64 << 20, kernels: EncoderKernels = .best
    ) throws(ClusterError) {
        guard workers > 0 else { throw ClusterError(.invalidArgument, "\(workers) embedding workers, at least 1 is needed") }
        let vocabulary: Data
        do {
            vocabulary = try Data(contentsOf: URL(fileURLWithPath: directory + "/vocab.txt"))
        } catch {
            throw ClusterError(.notFound, "\(directory)/vocab.txt: \(error.localizedDescription)")
        }
        let tokenizer = try WordPieceTokenizer(vocabulary: Array(vocabulary))
        guard tokenizer.vocabularyCount <= EncoderShape.miniLM.vocabulary else {
            throw ClusterError(
                .dataLoss,
                "\(directory)/vocab.txt: expected at most \(EncoderShape.miniLM.vocabulary) tokens, found \(tokenizer.vocabularyCount)")
        }
        let weights = try EncoderWeights(TensorFile(path: directory + "/model.safetensors"), shape: .miniLM)
        let maximumTokens = maximumTokens
        self.tokenizer = tokenizer
        self.workers = EmbeddingWorkers(count: workers, maximumQueuedBytes: maximumQueuedBytes) {
            let encoder = Encoder(weights: weights, kernels: kernels)
            return { texts in Self.embed(texts.map { tokenizer.encode($0, maximumTokens: maximumTokens) }, with: encoder) }
        }
    }

    deinit { workers.stop() }

    package func tokenCount(_ text: String) -> Int { tokenizer.count(text) }

    package func embed(_ texts: [String]) async throws(ClusterError) -> [[Float]] { try await workers.embed(texts) }

    /// Fills passes of the encoder with texts in order.
    private static func embed(_ texts: [[Int32]], with encoder: Encoder) -> [[Float]] {
        var vectors: [[Float]] = []
        var batch: [[Int32]] = []
        var tokens = 0
        for text in texts {
            if tokens + text.count > Encoder.maximumBatchTokens {
                vectors += encoder.encode(batch)
                batch = []
                tokens = 0
            }
            batch.append(text)
            tokens += text.count
        }
        return batch.isEmpty ? vectors : vectors + encoder.encode(batch)
    }
}
