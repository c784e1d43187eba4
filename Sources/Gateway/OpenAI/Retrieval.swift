import Coordination
import Embedding
import Model

/// Finds the chunks of a collection that bear on a text.
struct Retrieval: Sendable {
    let coordinator: Coordinator
    let embedder: any Embedder

    /// What a search for several texts found.
    struct Found {
        /// Of each text the nearest chunks, best first.
        var hits: [[ScoredPoint]]
        /// Of the least complete of the searches.
        var coverage: Coverage
        /// Those asked for, of the last text.
        var explanations: [PointExplanation]

        /// The chunks nearest to any of the texts, best first, each once with its best score.
        func best(_ limit: Int) -> [ScoredPoint] {
            Array(scored.values.sorted { ($0.score, $1.point.id) > ($1.score, $0.point.id) }.prefix(limit))
        }

        /// The best chunk of each text in turn, then the second best, each once: no text is left out because others have nearer chunks.
        func inTurns(_ limit: Int) -> [ScoredPoint] {
            var left = scored
            var chosen: [ScoredPoint] = []
            for place in 0..<(hits.map(\.count).max() ?? 0) {
                for hits in hits where place < hits.count {
                    if let hit = left.removeValue(forKey: hits[place].point.id) { chosen.append(hit) }
                }
            }
            return Array(chosen.prefix(limit))
        }

        private var scored: [PointID: ScoredPoint] {
            Dictionary(hits.joined().map { ($0.point.id, $0) }) { $0.score < $1.score ? $1 : $0 }
        }
    }

    /// - Parameter limit: Chunks wanted of each text.
    func search(
        _ texts: [String], in schema: CollectionSchema, limit: Int, filter: Filter?, scoreThreshold: Float?, options: RetrievalOptions,
        context: CallContext
    ) async throws -> Found {
        let name = try CollectionName(schema.name)
        let vectors = try await embedder.embed(texts)
        var found = Found(hits: [], coverage: Coverage(shardsAsked: 0, shardsAnswered: 0, work: SearchWork()), explanations: [])
        let queries = vectors.enumerated().map { number, vector in
            SearchQuery(
                vector: vector, limit: limit, filter: filter, scoreThreshold: scoreThreshold, effort: options.effort, partial: options.partial,
                collapseDuplicates: true, explain: number == vectors.count - 1 ? options.explain : [])
        }
        for answer in try await coordinator.search(queries, in: name, context: context) {
            var coverage = found.hits.isEmpty || answer.coverage.pointsSearched < found.coverage.pointsSearched ? answer.coverage : found.coverage
            if !found.hits.isEmpty { coverage.judgeGaps(found.coverage, answer.coverage) }
            found.coverage = coverage
            found.explanations = answer.explanations
            found.hits.append(answer.hits)
        }
        return found
    }
}

/// What to look for when a question is asked, maybe within a conversation.
package enum FollowUp {
    /// Words that point at something said before. English, as the default embedding model is.
    private static let pointers: Set<String> = [
        "it", "its", "they", "them", "their", "this", "that", "these", "those", "he", "she", "him", "her", "his", "there", "one", "ones",
    ]
    /// A question this short rarely names its own subject: "and for tables?".
    private static let shortWords = 4

    /// The question, with the user's question before it behind it if this one is short or points back: alone it would find anything. Of a long
    /// message before, only its end, where its question mostly stands. A question that is itself longer than the model sees is looked up in pieces,
    /// the most telling first.
    package static func texts(for question: String, history: [ChatTurn], embedder: any Embedder) -> [String] {
        let windows = TextWindows(of: question, for: embedder)
        guard windows.isWhole, let previous = history.last(where: { $0.speaker == .user && !$0.text.allSatisfy(\.isWhitespace) }) else { return windows.lastFirst() }
        let words = question.lowercased().split { !$0.isLetter && !$0.isNumber }.map(String.init)
        let dependsOnHistory = words.count <= shortWords || words.contains { pointers.contains($0) }
        guard dependsOnHistory else { return [question] }
        let before = TextWindows(of: previous.text, for: embedder).lastFirst()[0]
        return [TextWindows(of: question + "\n" + before, for: embedder).beginning()]
    }
}
