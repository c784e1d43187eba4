import Hummingbird
import Model

/// A page of one of OpenAI's lists: `after` and `before` are ids, `limit` is 1…100.
struct OpenAIPage {
    var limit: Int
    var after: String?
    var before: String?
    /// `nil` if the client did not say.
    var isAscending: Bool?

    init(_ parameters: inout QueryParameters, defaultLimit: Int = 20, maximumLimit: Int = 100) throws {
        limit = try parameters.integer("limit", in: 1...maximumLimit) ?? defaultLimit
        after = parameters.take("after")
        before = parameters.take("before")
        isAscending = try parameters.choice("order", of: ["asc", "desc"]).map { $0 == "asc" }
        guard after == nil || before == nil else { throw RequestError.invalid("before", "either after or before may be given") }
    }

    /// This page of all `elements`, which are in ascending order.
    ///
    /// - Throws: 400 if the id of `after` or `before` is not among them.
    func slice<Element>(of elements: [Element], id: (Element) -> String) throws -> (elements: [Element], hasMore: Bool) {
        let ordered = isAscending == true ? elements : elements.reversed()
        if let before {
            let end = try index(of: before, "before", in: ordered, id)
            let start = max(0, end - limit)
            return (Array(ordered[start..<end]), start > 0)
        }
        let start = try after.map { try index(of: $0, "after", in: ordered, id) + 1 } ?? 0
        let end = min(ordered.count, start + limit)
        return (Array(ordered[start..<end]), end < ordered.count)
    }

    private func index<Element>(of wanted: String, _ field: String, in ordered: [Element], _ id: (Element) -> String) throws -> Int {
        guard let index = ordered.firstIndex(where: { id($0) == wanted }) else {
            throw RequestError.invalid(field, "\(field): there is no \"\(wanted.prefix(128))\"")
        }
        return index
    }

    static func response(_ data: [JSONOutput], ids: [String], hasMore: Bool) -> Response {
        Response(json: [
            "object": "list", "data": .array(data), "first_id": ids.first.map(JSONOutput.string) ?? .null,
            "last_id": ids.last.map(JSONOutput.string) ?? .null, "has_more": .bool(hasMore),
        ])
    }

    static func deleted(_ id: String, _ object: String) -> Response {
        Response(json: ["id": .string(id), "object": .string(object), "deleted": true])
    }
}
