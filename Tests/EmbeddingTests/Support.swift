import Foundation
import Model

/// The folder that `cluster/fetch-model` fills.
let modelDirectory: String = {
    let environment = ProcessInfo.processInfo.environment
    let cache = environment["COVEY_CACHE"] ?? (environment["XDG_CACHE_HOME"] ?? NSHomeDirectory() + "/.cache") + "/covey"
    return cache + "/models/all-MiniLM-L6-v2"
}()
let modelIsCached = FileManager.default.fileExists(atPath: modelDirectory + "/model.safetensors")
    && FileManager.default.fileExists(atPath: modelDirectory + "/vocab.txt")

private let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
let golden = repository.appendingPathComponent("../shared/data/embedding-golden").standardizedFileURL
let goldenIsThere = FileManager.default.fileExists(atPath: golden.path)

/// A text with what another implementation makes of it: token ids, their count before the cut, float32 vector.
struct ReferenceText: Decodable, Sendable {
    var text: String
    var tokens: [Int32]
    var count: Int
    var vector: Data

    var floats: [Float] { vector.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) } }

    /// Made by `Tests/Clients/embedding_reference.py`.
    static let all: [ReferenceText] = {
        let file = repository.appendingPathComponent("Tests/Fixtures/embedding/reference.json")
        return try! JSONDecoder().decode([ReferenceText].self, from: Data(contentsOf: file))
    }()
}

/// The texts of `embedding-golden` with the token ids and the (int8) vectors of all-MiniLM-L6-v2.
func goldenTexts() throws -> [(text: String, tokens: [Int32], vector: [Float])] {
    struct Text: Decodable { var text: String }
    struct Tokens: Decodable { var minilm: [Int32] }
    func lines<Line: Decodable>(_ file: String, _: Line.Type) throws -> [Line] {
        try Data(contentsOf: golden.appendingPathComponent(file)).split(separator: UInt8(ascii: "\n"))
            .map { try JSONDecoder().decode(Line.self, from: $0) }
    }
    let texts = try lines("texts.jsonl", Text.self)
    let tokens = try lines("tokens.jsonl", Tokens.self)
    let vectors = try Data(contentsOf: golden.appendingPathComponent("minilm.fvecs")).withUnsafeBytes { bytes in
        stride(from: 0, to: bytes.count, by: 4 + 4 * 384).map { start in
            (0..<384).map { bytes.loadUnaligned(fromByteOffset: start + 4 + $0 * 4, as: Float.self) }
        }
    }
    return zip(texts, zip(tokens, vectors)).map { ($0.text, $1.0.minilm, $1.1) }
}

/// Cosine in double precision.
func cosine(_ a: [Float], _ b: [Float]) -> Double {
    func dot(_ a: [Float], _ b: [Float]) -> Double { zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) } }
    return dot(a, b) / (dot(a, a) * dot(b, b)).squareRoot()
}

struct SplitMix64: RandomNumberGenerator {
    var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}

/// What this process has used of all processors: on a busy machine the fairer clock.
func processorSeconds() -> Double { Double(clock()) / Double(CLOCKS_PER_SEC) }
