import Generation
import Model
import Synchronization

/// A language model that says what a test tells it to, and remembers what it was asked.
final class ScriptedModel: LanguageModel {
    let name = "scripted"
    private let pieces: [String]
    private let reason: AnswerSummary.Reason
    private let usage: TokenUsage?
    private let failure: ClusterError?
    private let received = Mutex<[ModelRequest]>([])

    var requests: [ModelRequest] { received.withLock { $0 } }

    /// - Parameter failure: Thrown after the pieces, in place of the end.
    init(_ pieces: [String], reason: AnswerSummary.Reason = .stop, usage: TokenUsage? = nil, failure: ClusterError? = nil) {
        self.pieces = pieces
        self.reason = reason
        self.usage = usage
        self.failure = failure
    }

    func generate(_ request: ModelRequest) -> AsyncThrowingStream<ModelEvent, any Error> {
        received.withLock { $0.append(request) }
        return AsyncThrowingStream { continuation in
            for piece in pieces { continuation.yield(.text(piece)) }
            if let failure { return continuation.finish(throwing: failure) }
            continuation.yield(.finished(reason: reason, usage: usage))
            continuation.finish()
        }
    }
}

/// A whole answer, collected.
struct Collected {
    var prompt: String?
    var text = ""
    var summary: AnswerSummary?
}

let context = CallContext(requestID: RequestID("test"), tenant: .default)

extension AnswerService {
    func collect(_ request: AnswerRequest, context: CallContext = context) async throws -> Collected {
        var collected = Collected()
        for try await event in answer(request, context: context) {
            switch event {
            case .prompt(let prompt): collected.prompt = prompt
            case .text(let text): collected.text += text
            case .finished(let summary): collected.summary = summary
            }
        }
        return collected
    }
}

extension Source {
    init(_ text: String, document: String = "d", title: String = "T", headings: [String] = [], start: Int = 0, score: Float = 0.5) {
        self.init(document: document, title: title, headings: headings, text: text, start: start, end: start + text.utf8.count, score: score)
    }
}

/// Numbers that a seed determines.
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
