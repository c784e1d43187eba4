import Model

extension Covey_V1_AnswerRequest: TenantMessage {}

extension AnswerRequest: WireRequest {
    package init(_ message: Covey_V1_AnswerRequest) throws(ClusterError) {
        self.init(
            question: message.question, history: try convert(message.history, ChatTurn.init),
            sources: message.sources.map(Source.init), options: AnswerOptions(message.options))
    }

    package var message: Covey_V1_AnswerRequest {
        var message = Covey_V1_AnswerRequest()
        message.question = question
        message.history = history.map(\.message)
        message.sources = sources.map(\.message)
        message.options = options.message
        return message
    }

    package var shards: [ShardID] { [] }
}

extension ChatTurn: WireValue {
    package init(_ message: Covey_V1_ChatTurn) throws(ClusterError) {
        let speaker: Speaker =
            switch message.speaker {
            case .system: .system
            case .user: .user
            case .assistant: .assistant
            case .unspecified, .UNRECOGNIZED: throw ClusterError(.invalidArgument, "speaker \(message.speaker.rawValue) is unknown")
            }
        self.init(speaker: speaker, text: message.text)
    }

    package var message: Covey_V1_ChatTurn {
        var message = Covey_V1_ChatTurn()
        message.speaker =
            switch speaker {
            case .system: .system
            case .user: .user
            case .assistant: .assistant
            }
        message.text = text
        return message
    }
}

extension Source: WireValue {
    package init(_ message: Covey_V1_Source) {
        self.init(
            document: message.document, title: message.title, headings: message.headings, text: message.text, start: Int(message.start),
            end: Int(message.end), score: message.score)
    }

    package var message: Covey_V1_Source {
        var message = Covey_V1_Source()
        message.document = document
        message.title = title
        message.headings = headings
        message.text = text
        message.start = Int64(start)
        message.end = Int64(end)
        message.score = score
        return message
    }
}

extension AnswerOptions: WireValue {
    package init(_ message: Covey_V1_AnswerOptions) {
        self.init(
            maximumTokens: message.hasMaximumTokens ? Int(message.maximumTokens) : nil,
            temperature: message.hasTemperature ? message.temperature : nil, showPrompt: message.showPrompt, extractive: message.extractive)
    }

    package var message: Covey_V1_AnswerOptions {
        var message = Covey_V1_AnswerOptions()
        if let maximumTokens { message.maximumTokens = Int64(maximumTokens) }
        if let temperature { message.temperature = temperature }
        message.showPrompt = showPrompt
        message.extractive = extractive
        return message
    }
}

extension AnswerEvent: WireValue {
    package init(_ message: Covey_V1_AnswerEvent) throws(ClusterError) {
        switch message.kind {
        case .prompt(let prompt): self = .prompt(prompt)
        case .text(let text): self = .text(text)
        case .finished(let summary): self = .finished(try AnswerSummary(summary))
        case nil: throw ClusterError(.invalidArgument, "event of an answer is missing or of a kind unknown to this version")
        }
    }

    package var message: Covey_V1_AnswerEvent {
        var message = Covey_V1_AnswerEvent()
        switch self {
        case .prompt(let prompt): message.prompt = prompt
        case .text(let text): message.text = text
        case .finished(let summary): message.finished = summary.message
        }
        return message
    }
}

extension AnswerSummary: WireValue {
    package init(_ message: Covey_V1_AnswerSummary) throws(ClusterError) {
        let reason: Reason =
            switch message.reason {
            case .stop: .stop
            case .length: .length
            case .contentFilter: .contentFilter
            case .unspecified, .UNRECOGNIZED: throw ClusterError(.invalidArgument, "reason \(message.reason.rawValue) is unknown")
            }
        self.init(
            model: message.model, reason: reason, refused: message.refused, citations: message.citations.map(Citation.init),
            citationsRemoved: Int(message.citationsRemoved), sourcesUsed: message.sourcesUsed.map { Int($0) },
            promptTokens: Int(message.promptTokens), completionTokens: Int(message.completionTokens))
    }

    package var message: Covey_V1_AnswerSummary {
        var message = Covey_V1_AnswerSummary()
        message.model = model
        message.reason =
            switch reason {
            case .stop: .stop
            case .length: .length
            case .contentFilter: .contentFilter
            }
        message.refused = refused
        message.citations = citations.map(\.message)
        message.citationsRemoved = Int64(citationsRemoved)
        message.sourcesUsed = sourcesUsed.map { Int64($0) }
        message.promptTokens = Int64(promptTokens)
        message.completionTokens = Int64(completionTokens)
        return message
    }
}

extension Citation: WireValue {
    package init(_ message: Covey_V1_Citation) {
        self.init(source: Int(message.source), start: Int(message.start), end: Int(message.end), quote: message.quote)
    }

    package var message: Covey_V1_Citation {
        var message = Covey_V1_Citation()
        message.source = Int64(source)
        message.start = Int64(start)
        message.end = Int64(end)
        message.quote = quote
        return message
    }
}
