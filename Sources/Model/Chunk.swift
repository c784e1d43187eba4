/// A piece of a document, as it is stored in a point's payload.
///
/// A chunk's point id is a UUID whose first half names the document and whose second half is the chunk's index, so a
/// document lives in one shard and changes in one log entry.
package struct Chunk: Hashable, Sendable {
    /// The document's name in its collection, say its path in the folder that was ingested.
    package var document: String
    package var title: String
    /// Headings from the outermost to the chunk's own.
    package var headings: [String]
    /// Bytes `start..<end` of the document's text.
    package var text: String
    package var start: Int
    package var end: Int
    /// Position in the document, from 0.
    package var index: Int
    /// Where it stands in the original, if that has pages or the like.
    package var place: Place?

    /// Pages, slides, sheets, cells of a notebook or messages of a mailbox that a chunk is in, counted from 1.
    package struct Place: Hashable, Sendable, CustomStringConvertible {
        package enum Unit: String, Sendable, CaseIterable { case page, slide, sheet, cell, message }
        package var unit: Unit
        package var first: Int
        package var last: Int

        package init(_ unit: Unit, _ first: Int, _ last: Int? = nil) {
            self.unit = unit
            self.first = first
            self.last = last ?? first
        }

        /// `page 3`, `pages 3–4`.
        package var description: String { first == last ? "\(unit) \(first)" : "\(unit)s \(first)–\(last)" }
    }

    package init(document: String, title: String, headings: [String], text: String, start: Int, end: Int, index: Int, place: Place? = nil) {
        self.document = document
        self.title = title
        self.headings = headings
        self.text = text
        self.start = start
        self.end = end
        self.index = index
        self.place = place
    }

    /// Payload keys. `file` stands on chunk 0 only and holds what is known of the whole document.
    package enum Key {
        package static let document = "document"
        package static let title = "title"
        package static let headings = "headings"
        package static let text = "text"
        package static let start = "start"
        package static let end = "end"
        package static let index = "chunk"
        package static let file = "file"
        /// `{"page": 3}`, with the last one under `end` if it is another.
        package static let place = "place"
    }

    package var payload: Payload {
        var payload: Payload = [
            Key.document: .string(document), Key.title: .string(title), Key.headings: .array(headings.map(JSONValue.string)),
            Key.text: .string(text), Key.start: .integer(Int64(start)), Key.end: .integer(Int64(end)), Key.index: .integer(Int64(index)),
        ]
        payload[Key.place] = place?.json
        return payload
    }

    /// `nil` if the payload is not that of a chunk: whoever may write points may write any numbers, so the range has to be the text's.
    package init?(payload: Payload) {
        guard let document = payload[Key.document]?.string, let text = payload[Key.text]?.string, let start = payload[Key.start]?.integer,
            let end = payload[Key.end]?.integer, let index = payload[Key.index]?.integer, start >= 0, end >= start, end - start == text.utf8.count
        else { return nil }
        self.init(
            document: document, title: payload[Key.title]?.string ?? document,
            headings: payload[Key.headings]?.array?.compactMap(\.string) ?? [], text: text, start: Int(start), end: Int(end), index: Int(index),
            place: payload[Key.place].flatMap(Place.init))
    }

    /// The source a generator is given for this chunk.
    package func source(score: Float) -> Source {
        Source(document: document, title: title, headings: headings, text: text, start: start, end: end, score: score, place: place)
    }
}

extension Chunk.Place {
    package var json: JSONValue {
        var members: [String: JSONValue] = [unit.rawValue: .integer(Int64(first))]
        if last != first { members[Self.end] = .integer(Int64(last)) }
        return .object(members)
    }

    /// `nil` if it is none.
    package init?(_ json: JSONValue) {
        for unit in Unit.allCases {
            guard let first = json[unit.rawValue]?.integer else { continue }
            self.init(unit, Int(first), json[Self.end]?.integer.map { Int($0) })
            return
        }
        return nil
    }

    private static let end = "end"
}
