import Embedding
import Ingestion
import Model
import Synchronization

/// A quick embedder for tests: tokens as a word-piece tokenizer has them, about; vectors from a hash of the text.
struct WordEmbedder: Embedder {
    let model = "words"
    let dimension = 4
    var maximumTokens = 256

    /// Two special tokens, one for each punctuation mark or character beyond Latin, one for each four letters of a word.
    func tokenCount(_ text: String) -> Int {
        var (count, letters) = (2, 0)
        for scalar in text.unicodeScalars {
            let isLetter = scalar.properties.isAlphabetic && scalar.value < 0x2e80 || ("0"..."9").contains(scalar)
            if isLetter {
                if letters % 4 == 0 { count += 1 }
                letters += 1
            } else {
                letters = 0
                if !scalar.properties.isWhitespace { count += 1 }
            }
        }
        return count
    }

    func embed(_ texts: [String]) async throws(ClusterError) -> [[Float]] {
        texts.map { text in
            let hash = text.utf8.reduce(UInt64(14_695_981_039_346_656_037)) { ($0 ^ UInt64($1)) &* 1_099_511_628_211 }
            let angle = Float(hash % 1_000) / 1_000
            return [angle.squareRoot(), (1 - angle).squareRoot(), 0, 0]
        }
    }
}

/// Seeded; Steele, Lea, Flood, OOPSLA 2014.
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

/// Remembers what it was asked to embed.
final class RecordingEmbedder: Embedder {
    private let base: WordEmbedder
    private let recorded = Mutex<[String]>([])
    init(base: WordEmbedder) { self.base = base }

    var model: String { base.model }
    var dimension: Int { base.dimension }
    var maximumTokens: Int { base.maximumTokens }
    var texts: [String] { recorded.withLock { $0 } }
    /// Tokens of the longest text.
    var longest: Int { texts.map(tokenCount).max() ?? 0 }
    func tokenCount(_ text: String) -> Int { base.tokenCount(text) }
    func embed(_ texts: [String]) async throws(ClusterError) -> [[Float]] {
        recorded.withLock { $0 += texts }
        return try await base.embed(texts)
    }
}
