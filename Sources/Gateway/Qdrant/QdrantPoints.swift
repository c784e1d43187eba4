import Model

/// Reads the points of an upsert: a list of points, or one list each of ids, vectors and payloads.
package enum QdrantPoints {
    /// Takes `points` or `batch` from the body.
    package static func take(from fields: inout JSONFields, maximumCount: Int) throws -> [Point] {
        if let elements = try fields.array("points", maximumCount: maximumCount) {
            return try elements.enumerated().map { try point($1, at: "points[\($0)]") }
        }
        guard var batch = try fields.object("batch") else { throw RequestError.invalid("points", "points is missing") }
        return try columns(&batch, maximumCount: maximumCount)
    }

    /// One point of a list.
    static func point(_ input: JSONInput, at path: String) throws -> Point {
        var fields = try JSONFields(input, at: path)
        let id = try fields.required("id", try fields.take("id")?.pointID(at: fields.name("id")))
        let vector = try fields.required("vector", try fields.take("vector")?.vector(at: fields.name("vector")))
        let payload = try fields.take("payload").map { try Self.payload($0, at: fields.name("payload")) }
        try fields.finish()
        return Point(id: id, vector: vector, payload: payload ?? [:])
    }

    private static func columns(_ fields: inout JSONFields, maximumCount: Int) throws -> [Point] {
        try fields.refuse("shard_key")
        let ids = try fields.required("ids", try fields.pointIDs("ids", maximumCount: maximumCount))
        let input = try fields.required("vectors", fields.take("vectors"))
        let path = fields.name("vectors")
        guard case .array(let vectors) = input else {
            if case .object = input { throw RequestError.unsupported(path, "\(path): named vectors are not supported, one dense vector a point is") }
            throw RequestError.invalid(path, "\(path) must be a list of vectors, found \(input.kind)")
        }
        let payloads = try fields.array("payloads")
        try fields.finish()
        for (key, count) in [("vectors", vectors.count), ("payloads", payloads?.count ?? ids.count)] where count != ids.count {
            throw RequestError.invalid(fields.name(key), "\(fields.name(key)) has \(count) elements, \(fields.name("ids")) has \(ids.count)")
        }
        return try ids.indices.map { index in
            let payload: Payload? = try payloads.flatMap { payloads in
                payloads[index].isNull ? nil : try Self.payload(payloads[index], at: "\(fields.name("payloads"))[\(index)]")
            }
            return Point(id: ids[index], vector: try vectors[index].vector(at: "\(path)[\(index)]"), payload: payload ?? [:])
        }
    }

    private static func payload(_ input: JSONInput, at path: String) throws -> Payload {
        guard case .object(let members) = input.jsonValue else { throw RequestError.invalid(path, "\(path) must be an object, found \(input.kind)") }
        if let (place, number) = input.unkept(at: path) {
            throw RequestError.invalid(place, "\(place) is \(number): payloads keep integers up to \(Int64.max) and finite floating-point numbers")
        }
        return members
    }
}
