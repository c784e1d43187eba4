import Coordination
import Embedding
import Model

/// Finds the chunks of a collection that bear on a text.
struct Retrieval: Sendable {
    let coordinator: Coordinator
    let embedder: any Embedder

    /// The chunks nearest to any of `texts`, best first, each once with its best score.
    ///
    /// - Parameter limit: Chunks wanted.
    /// - Returns: The hits, the coverage of the least complete of the searches, and the explanations asked for, of the last of them.
    func search(
        _ texts: [String], in schema: CollectionSchema, limit: Int, filter: Filter?, scoreThreshold: Float?, options: RetrievalOptions,
        context: CallContext
    ) async throws -> (hits: [ScoredPoint], coverage: Coverage, explanations: [PointExplanation]) {
        let name = try CollectionName(schema.name)
        let vectors = try await embedder.embed(texts)
        var best: [PointID: ScoredPoint] = [:]
        var coverage: Coverage?
        var explanations: [PointExplanation] = []
        for vector in vectors {
            let query = SearchQuery(
                vector: vector, limit: limit, filter: filter, scoreThreshold: scoreThreshold, effort: options.effort, partial: options.partial,
                collapseDuplicates: true, explain: options.explain)
            let answer = try await coordinator.search(query, in: name, context: context)
            for hit in answer.hits where best[hit.point.id].map({ $0.score < hit.score }) ?? true { best[hit.point.id] = hit }
            explanations = answer.explanations
            var next = coverage.map { answer.coverage.pointsSearched < $0.pointsSearched } ?? true ? answer.coverage : coverage!
            if let coverage { next.judgeGaps(coverage, answer.coverage) }
            coverage = next
        }
        let hits = best.values.sorted { ($0.score, $1.point.id) > ($1.score, $0.point.id) }.prefix(limit)
        return (Array(hits), coverage ?? Coverage(shardsAsked: 0, shardsAnswered: 0, work: SearchWork()), explanations)
    }
}

/// What to look for when a question is asked within a conversation.
package enum FollowUp {
    /// Words that point at something said before. English, as the default embedding model is.
    private static let pointers: Set<String> = [
        "it", "its", "they", "them", "their", "this", "that", "these", "those", "he", "she", "him", "her", "his", "there", "one", "ones",
    ]
    /// A question this short rarely names its own subject: "and for tables?".
    private static let shortWords = 4

    /// The question, with the user's question before it if this one is short or points back: alone it would find anything.
    package static func query(for question: String, history: [ChatTurn]) -> String {
        guard let previous = history.last(where: { $0.speaker == .user }) else { return question }
        let words = question.lowercased().split { !$0.isLetter && !$0.isNumber }.map(String.init)
        let dependsOnHistory = words.count <= shortWords || words.contains { pointers.contains($0) }
        return dependsOnHistory ? previous.text + "\n" + question : question
    }
}
