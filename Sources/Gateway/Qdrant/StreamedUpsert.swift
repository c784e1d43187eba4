import Coordination
import Hummingbird
import Model
import NIOCore

/// An upsert whose body is larger than others may be: its points are written in parts while it arrives.
///
/// One part is read while the one before is written, so memory holds two parts, however long the body is. Parts take effect in order; what
/// was written before a point that is wrong stays written, and the error says how many points that are.
struct StreamedUpsert: Sendable {
    let coordinator: Coordinator
    let quota: StorageQuota
    let collection: CollectionName
    let configuration: GatewayConfiguration

    func run(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let work = Work(self, context.call)
        do {
            let reading = RequestReading(configuration: configuration)
            try await reading.pieces(of: request, context, limit: configuration.maximumUpsertBytes, name: "the body") { try await work.receive($0) }
            try await work.finish()
        } catch {
            await work.settle()
            let parts = await work.parts
            var failure = RequestError(error)
            failure.message += "; of the body's points \(parts.last.map { "0…\($0.points.upperBound - 1)" } ?? "none") were written before"
            failure.details = .object([("points_written", .integer(parts.last?.points.upperBound ?? 0)), ("parts", .array(parts.map(\.json)))])
            throw failure
        }
        let parts = await work.parts
        guard let last = parts.last else { throw RequestError.invalid("points", "points is empty") }
        return QdrantReply.ok(
            ["operation_id": .unsigned(last.outcome.position), "status": "completed"],
            covey: ["shards": last.outcome.shardsJSON, "parts": .array(parts.map(\.json))], context)
    }

    struct Part: Sendable {
        /// Their places in the body.
        var points: Range<Int>
        var outcome: WriteOutcome

        var json: JSONOutput {
            ["first": .integer(points.lowerBound), "count": .integer(points.count), "shards": outcome.shardsJSON]
        }
    }

    /// What arrives, and the part that is being written.
    private actor Work {
        private let upsert: StreamedUpsert
        private let context: CallContext
        private var stream: PointStream
        private var pending: [Point] = []
        private var pendingBytes = 0
        /// Of those taken out of the body.
        private var pointCount = 0
        private var hasSchema = false
        private var writing: Task<Part, any Error>?
        private(set) var parts: [Part] = []

        init(_ upsert: StreamedUpsert, _ context: CallContext) {
            self.upsert = upsert
            self.context = context
            stream = PointStream(maximumPointBytes: upsert.configuration.maximumBodyBytes)
        }

        func receive(_ piece: ByteBuffer) async throws {
            if !hasSchema {
                _ = try await upsert.coordinator.schema(of: upsert.collection, context: context)  // before a gigabyte was read
                hasSchema = true
            }
            for point in try stream.receive(piece.readableBytesView) {
                pendingBytes += point.vector.count * 4 + 32 + JSONValue.object(point.payload).byteCount
                pending.append(point)
                pointCount += 1
                if pending.count >= upsert.configuration.maximumBatch || pendingBytes >= upsert.configuration.upsertPartBytes { try await write() }
            }
        }

        func finish() async throws {
            try stream.finish()
            if !pending.isEmpty { try await write() }
            try await collect()
        }

        /// Waits for the write at work: what it wrote counts, whatever else went wrong.
        func settle() async { try? await collect() }

        private func collect() async throws {
            guard let task = writing else { return }
            writing = nil
            parts.append(try await withTaskCancellationHandler { try await task.value } onCancel: { task.cancel() })
        }

        private func write() async throws {
            try await collect()
            let points = pending
            let (end, piece) = (pointCount, parts.count)
            (pending, pendingBytes) = ([], 0)
            let (coordinator, quota, collection, context) = (upsert.coordinator, upsert.quota, upsert.collection, context)
            // Waited for by the next part, or by `settle`.
            writing = Task {
                try await quota.admitPoints(points.count, context)
                do {
                    let outcome = try await coordinator.write([.upsert(points)], to: collection, piece: piece, context: context)
                    return Part(points: (end - points.count)..<end, outcome: outcome)
                } catch {
                    let error = ClusterError(error)
                    throw ClusterError(error.code, "points[\(end - points.count)]…points[\(end - 1)]: \(error.message)", reason: error.reason)
                }
            }
        }
    }
}

extension WriteOutcome {
    /// What became of each shard's part.
    var shardsJSON: JSONOutput {
        let written = results.map { result -> JSONOutput in
            [
                "shard": .integer(result.shard.index), "node": .string(result.node.rawValue), "position": .unsigned(result.position),
                "superseded": .integer(result.superseded),
            ]
        }
        let failed = failures.map { failure -> JSONOutput in
            [
                "shard": .integer(failure.shard.index), "node": .string(failure.node.rawValue),
                "error": ["code": .string(failure.error.reason?.rawValue ?? "\(failure.error.code)"), "message": .string(failure.error.message)],
            ]
        }
        return .array(written + failed)
    }
}
