import Coordination
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import Model
import NIOCore
import Observability

/// OpenAI's route `/v1/chat/completions`: the collection that `model` names answers the last message.
struct ChatRoutes: Sendable {
    let documents: Documents
    let retrieval: Retrieval
    let generator: any AnswerService
    let configuration: GatewayConfiguration
    let metrics: Metrics
    let logger: Logger
    private var reading: RequestReading { RequestReading(configuration: configuration) }

    func add(to router: Router<GatewayContext>) { router.post("/v1/chat/completions", use: complete) }

    @Sendable private func complete(_ request: Request, _ context: GatewayContext) async throws -> Response {
        var parameters = try QueryParameters(request)
        let partial = try parameters.readOptions(request)
        try parameters.finish()
        var request = request
        let chat = try ChatRequest(try await reading.json(keepingBodyIn: &request, context), sources: configuration.sourcesPerAnswer, partial: partial)
        let schema = try await schema(chat.model, context)
        let texts = FollowUp.texts(for: chat.question, history: chat.history, embedder: documents.embedder)
        let found = try await retrieval.search(
            texts, in: schema, limit: chat.retrieval.limit, filter: chat.retrieval.filter,
            scoreThreshold: chat.retrieval.scoreThreshold, options: chat.retrieval, context: context.call)
        let sources = Self.sources(found.inTurns(chat.retrieval.limit))
        let reply = ChatReply(
            id: "chatcmpl-\(fixedHex(.random(in: 0...UInt64.max)))", created: Int(Date().timeIntervalSince1970), model: chat.model,
            sources: sources, coverage: found.coverage)
        let question = AnswerRequest(question: chat.question, history: chat.history, sources: sources, options: chat.answer)
        var call = context.call
        call.deadline = context.arrived + configuration.maximumTimeout
        let answer = Answer(request: question, reply: reply, call: call)
        return try await chat.isStreamed ? stream(answer, includesUsage: chat.includesUsage, of: request, context) : whole(answer, of: request, context)
    }

    /// The chunks among the points, as many as a generator takes: a payload may be of any size, and one that is too large must not keep the others out.
    private static func sources(_ hits: [ScoredPoint]) -> [Source] {
        var room = AnswerRequest.maximumSourceBytes
        return hits.compactMap { hit in
            guard let source = Chunk(payload: hit.point.payload)?.source(score: hit.score), source.byteCount <= room else { return nil }
            room -= source.byteCount
            return source
        }
    }

    private func schema(_ model: String, _ context: GatewayContext) async throws -> CollectionSchema {
        do {
            return try await documents.schema(of: model, field: "model", context: context.call)
        } catch var error as RequestError where error.status == .notFound {
            error.code = "model_not_found"
            throw error
        }
    }

    private struct Answer: Sendable {
        var request: AnswerRequest
        var reply: ChatReply
        var call: CallContext
    }

    /// The answer in one piece. A client that goes away ends the work.
    private func whole(_ answer: Answer, of request: Request, _ context: GatewayContext) async throws -> Response {
        let completion = try await request.whileClientStays(context) { try await collect(answer) }
        var response = Response(json: completion)
        response.headers[.connection] = "close"
        return response
    }

    private func collect(_ answer: Answer) async throws -> JSONOutput {
        var reply = answer.reply
        var text = ""
        do {
            for try await event in generator.answer(answer.request, context: answer.call) {
                switch event {
                case .prompt(let prompt): reply.keep(prompt: prompt)
                case .text(let piece): text += piece
                case .finished(let summary):
                    count(summary, answer.call)
                    return reply.completion(text, summary)
                }
            }
            throw endedEarly
        } catch {
            countFailure(answer.call)
            throw error
        }
    }

    /// The answer as server-sent events. What goes wrong after the first byte is an event with an `error`, as in OpenAI's API; a question that the
    /// generator does not take is an error status.
    private func stream(_ answer: Answer, includesUsage: Bool, of request: Request, _ context: GatewayContext) async throws -> Response {
        let events = generator.answer(answer.request, context: answer.call)
        let first = try await first(of: events, answer)
        let body = ResponseBody { writer in
            do {
                try await request.whileClientStays(context) {
                    defer { withExtendedLifetime(context.pass) {} }  // the answer is at work until its last byte
                    try await writer.write(Self.event(answer.reply.opening()))
                    do {
                        try await send(first, then: events, of: answer, includesUsage: includesUsage, to: &writer)
                    } catch where !Task.isCancelled {
                        let failure = RequestError(error)
                        logger.error(
                            "answer failed",
                            metadata: ["request": "\(answer.call.requestID)", "tenant": "\(answer.call.tenant)", "error": "\(failure.message)"])
                        try await writer.write(Self.event(Dialect.streamError(failure, requestID: answer.call.requestID)))
                    }
                }
            } catch is CancellationError {
                // The client went away: the generator has been stopped, and nobody reads an end.
                logger.notice("client left during an answer", metadata: ["request": "\(answer.call.requestID)", "tenant": "\(answer.call.tenant)"])
            }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok, headers: [.contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-cache", .connection: "close"], body: body)
    }

    private func first(of events: AsyncThrowingStream<AnswerEvent, any Error>, _ answer: Answer) async throws -> AnswerEvent? {
        do {
            for try await event in events { return event }
            return nil
        } catch {
            countFailure(answer.call)
            throw error
        }
    }

    private func send(
        _ first: AnswerEvent?, then events: AsyncThrowingStream<AnswerEvent, any Error>, of answer: Answer, includesUsage: Bool,
        to writer: inout any ResponseBodyWriter
    ) async throws {
        var reply = answer.reply
        do {
            var next = first
            var rest = events.makeAsyncIterator()
            while let event = next {
                switch event {
                case .prompt(let prompt): reply.keep(prompt: prompt)
                case .text(""): break
                case .text(let piece): try await writer.write(Self.event(reply.piece(piece)))
                case .finished(let summary):
                    count(summary, answer.call)
                    try await writer.write(Self.event(reply.closing(summary)))
                    if includesUsage { try await writer.write(Self.event(reply.usageChunk(summary))) }
                    try await writer.write(ByteBuffer(string: "data: [DONE]\n\n"))
                    return
                }
                next = try await rest.next()
            }
            throw endedEarly
        } catch {
            countFailure(answer.call)
            throw error
        }
    }

    private static func event(_ json: JSONOutput) -> ByteBuffer {
        var bytes = Array("data: ".utf8)
        json.write(to: &bytes)
        bytes.append(contentsOf: "\n\n".utf8)
        return ByteBuffer(bytes: bytes)
    }

    /// A cancelled stream of events ends without a word, too.
    private var endedEarly: any Error {
        Task.isCancelled ? CancellationError() : ClusterError(.unavailable, "the generator ended its answer early")
    }

    // MARK: - Figures: outcomes and tokens, the tenant's bill

    private func count(_ summary: AnswerSummary, _ call: CallContext) {
        count(outcome: summary.refused ? "refused" : "answered", call)
        let tenant = ("tenant", metrics.tenantLabel(call.tenant.rawValue))
        for (kind, tokens) in [("prompt", summary.promptTokens), ("completion", summary.completionTokens)] {
            metrics.counter("covey_answer_tokens_total", help: "Tokens of prompts and answers.", labels: [tenant, ("kind", kind)]).add(tokens)
        }
    }

    private func countFailure(_ call: CallContext) { count(outcome: Task.isCancelled ? "cancelled" : "failed", call) }

    private func count(outcome: String, _ call: CallContext) {
        let tenant = ("tenant", metrics.tenantLabel(call.tenant.rawValue))
        metrics.counter("covey_answers_total", help: "Answers, by outcome.", labels: [tenant, ("outcome", outcome)]).add()
    }
}
