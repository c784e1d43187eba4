/// The generator node as its callers see it: sources in, a cited answer out, piece by piece.
package protocol AnswerService: Sendable {
    /// Streams the answer. The first event comes as soon as the request is found to be one that can be answered, so that its caller need not
    /// wait for words to know. The stream ends after ``AnswerEvent/finished(_:)`` or throws a ``ClusterError``; a consumer that stops reading
    /// cancels the work.
    func answer(_ request: AnswerRequest, context: CallContext) -> AsyncThrowingStream<AnswerEvent, any Error>
}

package struct AnswerRequest: Hashable, Sendable {
    package var question: String
    /// Earlier turns of the conversation, oldest first, without the question.
    package var history: [ChatTurn]
    /// Best first.
    package var sources: [Source]
    package var options: AnswerOptions

    /// Longest question in bytes. Reason: a long e-mail; what is longer is a document, to be ingested.
    package static let maximumQuestionBytes = 16 << 10
    /// Most sources. Reason: more than a prompt of today's models holds and a gateway finds.
    package static let maximumSources = 64
    /// Most bytes of all sources with their titles and headings.
    package static let maximumSourceBytes = 1 << 20
    /// Most turns of a history and bytes of them all. Reason: many times a prompt's budget, which drops what is older anyway.
    package static let maximumHistoryTurns = 200
    package static let maximumHistoryBytes = 512 << 10

    package init(question: String, history: [ChatTurn] = [], sources: [Source], options: AnswerOptions = AnswerOptions()) {
        self.question = question
        self.history = history
        self.sources = sources
        self.options = options
    }
}

package struct AnswerOptions: Hashable, Sendable {
    /// Tokens the answer may have, up to the generator's own limit; `nil` leaves it to the generator.
    package var maximumTokens: Int?
    /// 0…2; `nil` leaves it to the generator, whose default is 0.
    package var temperature: Double?
    /// Whether the first event is the exact prompt.
    package var showPrompt: Bool
    /// Answer from the sentences of the sources even if a language model is configured.
    package var extractive: Bool

    package init(maximumTokens: Int? = nil, temperature: Double? = nil, showPrompt: Bool = false, extractive: Bool = false) {
        self.maximumTokens = maximumTokens
        self.temperature = temperature
        self.showPrompt = showPrompt
        self.extractive = extractive
    }
}

package struct ChatTurn: Hashable, Sendable {
    package enum Speaker: String, Sendable { case system, user, assistant }
    package var speaker: Speaker
    package var text: String
    package init(speaker: Speaker, text: String) {
        self.speaker = speaker
        self.text = text
    }
}

/// One chunk given to the generator.
package struct Source: Hashable, Sendable {
    /// The document's id and name in the collection.
    package var document: String
    package var title: String
    /// Headings from the outermost to the chunk's own.
    package var headings: [String]
    /// The chunk's text: bytes `start..<end` of the document's text.
    package var text: String
    package var start: Int
    package var end: Int
    package var score: Float
    /// Where the chunk stands in the original; the generator is not told.
    package var place: Chunk.Place?

    /// Bytes of text, title and headings.
    package var byteCount: Int { headings.reduce(text.utf8.count + title.utf8.count) { $0 + $1.utf8.count } }

    package init(
        document: String, title: String, headings: [String] = [], text: String, start: Int, end: Int, score: Float = 0, place: Chunk.Place? = nil
    ) {
        self.place = place
        self.document = document
        self.title = title
        self.headings = headings
        self.text = text
        self.start = start
        self.end = end
        self.score = score
    }
}

package enum AnswerEvent: Hashable, Sendable {
    /// The exact text given to the language model (for extractive answers, the text that it would be given).
    case prompt(String)
    /// The next piece of the answer, which may be empty.
    case text(String)
    case finished(AnswerSummary)
}

package struct AnswerSummary: Hashable, Sendable {
    package enum Reason: String, Sendable {
        case stop, length
        /// A content filter of the language model's server ended the answer.
        case contentFilter = "content_filter"
    }
    /// `extractive`, or the language model's name.
    package var model: String
    package var reason: Reason
    /// Whether the answer says that the sources do not answer.
    package var refused: Bool
    package var citations: [Citation]
    /// Citations of sources that were not given, which were taken out of the text.
    package var citationsRemoved: Int
    /// Numbers (from 1) of the sources that the prompt's token budget kept; a source's number is its place in the request.
    package var sourcesUsed: [Int]
    package var promptTokens: Int
    package var completionTokens: Int

    package init(
        model: String, reason: Reason = .stop, refused: Bool = false, citations: [Citation] = [], citationsRemoved: Int = 0,
        sourcesUsed: [Int] = [], promptTokens: Int = 0, completionTokens: Int = 0
    ) {
        self.model = model
        self.reason = reason
        self.refused = refused
        self.citations = citations
        self.citationsRemoved = citationsRemoved
        self.sourcesUsed = sourcesUsed
        self.promptTokens = promptTokens
        self.completionTokens = completionTokens
    }
}

/// One use of a source in an answer.
package struct Citation: Hashable, Sendable {
    /// The source's number, from 1: its place in the request.
    package var source: Int
    /// Where the quoted words stand in the document's text, in bytes; the whole chunk if nothing is quoted verbatim.
    package var start: Int
    package var end: Int
    /// The quoted words, empty if nothing is quoted verbatim.
    package var quote: String

    package init(source: Int, start: Int, end: Int, quote: String = "") {
        self.source = source
        self.start = start
        self.end = end
        self.quote = quote
    }
}
