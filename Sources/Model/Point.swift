/// What a point says about itself besides its vector: a JSON object.
package typealias Payload = [String: JSONValue]

/// One stored item: an id, its vector, and a payload.
package struct Point: Hashable, Sendable {
    package var id: PointID
    /// `[dimension]`, as the collection's ``VectorDatatype`` holds it; floats are of unit length when the metric is cosine.
    package var vector: [Float]
    package var payload: Payload

    package init(id: PointID, vector: [Float], payload: Payload = [:]) {
        self.id = id
        self.vector = vector
        self.payload = payload
    }
}

/// A point that a search found, before its payload was fetched.
package struct Hit: Hashable, Sendable {
    package var id: PointID
    /// In the metric's own terms: see ``Metric``.
    package var score: Float
    /// Position in its shard's log of the version that was scored; a fetch returns that version or nothing (protocol, H22).
    package var version: UInt64
    /// Hash of the text that the point was made from, 0 if it has none; equal ones are collapsed in results.
    package var contentHash: UInt64

    package init(id: PointID, score: Float, version: UInt64, contentHash: UInt64 = 0) {
        self.id = id
        self.score = score
        self.version = version
        self.contentHash = contentHash
    }

    /// The total order of results: better score first, then smaller id.
    package static func ranksBefore(_ a: Hit, _ b: Hit, under metric: Metric) -> Bool {
        a.score == b.score ? a.id < b.id : metric.isBetter(a.score, than: b.score)
    }
}

/// A point as it is handed out, with the version it has.
package struct StoredPoint: Hashable, Sendable {
    package var id: PointID
    package var version: UInt64
    /// Empty unless asked for.
    package var vector: [Float]
    package var payload: Payload

    package init(id: PointID, version: UInt64, vector: [Float] = [], payload: Payload = [:]) {
        self.id = id
        self.version = version
        self.vector = vector
        self.payload = payload
    }
}
