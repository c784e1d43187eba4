import Model

/// A question to a collection, as `ask` and `chat` put it.
package struct QuestionOptions: Sendable {
    package var collection: String
    /// Chunks given to the generator; `nil` for the cluster's default.
    package var sources: Int?
    package var showPrompt = false
    /// Quote the sources even if a language model is there.
    package var extractive = false
    package var maximumTokens: Int?
    package var temperature: Double?
    /// Fail instead of answering from a part of the collection.
    package var wholeOnly = false

    package init(collection: String) { self.collection = collection }

    func body(_ turns: [ChatTurn], isStreamed: Bool) -> JSONValue {
        var covey: [String: JSONValue] = [:]
        if let sources { covey["limit"] = .integer(Int64(sources)) }
        if showPrompt { covey["show_prompt"] = true }
        if extractive { covey["extractive"] = true }
        if wholeOnly { covey["partial"] = "fail" }
        var members: [String: JSONValue] = [
            "model": .string(collection), "stream": .bool(isStreamed),
            "messages": .array(turns.map { ["role": .string($0.speaker.rawValue), "content": .string($0.text)] }),
        ]
        if !covey.isEmpty { members["covey"] = .object(covey) }
        if let maximumTokens { members["max_tokens"] = .integer(Int64(maximumTokens)) }
        if let temperature { members["temperature"] = .number(temperature) }
        return .object(members)
    }
}

/// Asks a question and shows the answer while it comes.
struct AnswerStream: Sendable {
    let client: CoveyClient
    let terminal: Terminal

    /// - Returns: The answer's text.
    /// - Throws: when the cluster refuses, or the stream breaks; what came before is on the terminal already.
    func show(_ turns: [ChatTurn], _ options: QuestionOptions) async throws(ConsoleError) -> String {
        var answer = ""
        var about: JSONValue?
        do {
            for try await event in try await client.events("/v1/chat/completions", options.body(turns, isStreamed: true)) {
                if let error = event["error"] { throw ConsoleError(error["message"]?.string ?? "the cluster could not finish the answer") }
                let delta = event["choices"]?.array?.first?["delta"]
                if let text = delta?["content"]?.string, !text.isEmpty {
                    terminal.write(Terminal.harmless(text))
                    answer += text
                }
                if let covey = delta?["covey"] { about = covey }
            }
        } catch {
            if !answer.isEmpty { terminal.print() }
            throw error as? ConsoleError ?? ConsoleError(error is CancellationError ? "interrupted" : "\(error)")
        }
        // A cancelled stream just ends.
        if Task.isCancelled {
            terminal.print()
            throw ConsoleError("interrupted")
        }
        if !answer.hasSuffix("\n") { terminal.print() }
        if let about { show(about) }
        return answer
    }

    private func show(_ about: JSONValue) {
        let cited = Set((about["citations"]?.array ?? []).compactMap { $0["source"]?.integer })
        // Of an answer without citations, say a refusal, what the generator saw.
        let sources = (about["sources"]?.array ?? []).filter { source in
            cited.isEmpty ? source["in_prompt"]?.bool != false : cited.contains(source["number"]?.integer ?? 0)
        }
        if !sources.isEmpty { terminal.print(cited.isEmpty ? "\nSources looked at:" : "\nSources:") }
        for source in sources { terminal.print("  [\(source["number"]?.integer ?? 0)] \(SourceLine(source).text)") }
        if let prompt = about["prompt"]?.string { terminal.print("\n--- prompt ---\n\(Terminal.harmless(prompt))\n--- end of prompt ---") }
        if let coverage = about["coverage"] { CoverageNote(coverage).note(on: terminal) }
    }
}

/// Where a chunk stands, in one line.
struct SourceLine {
    let text: String

    init(_ source: JSONValue) {
        let document = source["document"]?.string ?? "?"
        var place = source["title"]?.string ?? document
        for heading in (source["headings"]?.array ?? []).compactMap(\.string) where heading != place { place += " › " + heading }
        var line = place == document ? document : "\(place) — \(document)"
        if let place = source["place"].flatMap(Chunk.Place.init) { line += ", \(place)" }
        if let start = source["start"]?.integer, let end = source["end"]?.integer { line += ", bytes \(start)–\(end)" }
        text = Terminal.harmless(line.replacing("\n", with: " "))
    }
}

/// Says what an answer did not see; nothing if it saw everything.
struct CoverageNote {
    private let lines: [String]

    init(_ coverage: JSONValue) {
        guard coverage["complete"]?.bool == false else {
            lines = []
            return
        }
        func number(_ key: String) -> Int64 { coverage[key]?.integer ?? 0 }
        lines =
            ["partial: \(number("shards_answered")) of \(number("shards_asked")) shards answered, \(number("points_searched")) of \(number("points_held")) points searched"]
            + (coverage["gaps"]?.array ?? []).map {
                let effect = switch $0["could_change"]?.bool {
                    case false?: "; nothing that it held at position \($0["outline_position"]?.integer ?? 0) of its log could have been among these"
                    case true?: "; what it holds may be better"
                    case nil: ""
                }
                return "  shard \($0["shard"]?.integer ?? 0) on node \($0["node"]?.string ?? "?"): \($0["reason"]?.string ?? "no reason given")" + effect
            }
            + (number("points_unreadable") > 0 ? ["  \(number("points_unreadable")) points lie in damaged files: see covey status"] : [])
    }

    func note(on terminal: Terminal) { for line in lines { terminal.note(Terminal.harmless(line)) } }
}
