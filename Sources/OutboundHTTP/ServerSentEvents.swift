/// One event of a `text/event-stream`.
package struct ServerSentEvent: Sendable, Hashable {
    /// The `event` field; `message` when the server named none.
    package var name: String
    /// The `data` fields, joined by line feeds.
    package var data: String
    /// The last `id` field seen in the stream so far.
    package var id: String

    package init(name: String, data: String, id: String) {
        self.name = name
        self.data = data
        self.id = id
    }
}

/// Parses a `text/event-stream` as its bytes come, cut anywhere.
///
/// Lines end with CR, LF or CRLF. Comments, unknown fields and events without data are skipped; a last event without its empty
/// line is not an event, so a connection that breaks yields no half data.
///
/// - SeeAlso: WHATWG HTML, "9.2.6 Interpreting an event stream".
package struct ServerSentEvents: Sendable {
    /// Bytes of one event (its longest line, its data) beyond which the stream is refused.
    package let maximumEventBytes: Int
    private var line: [UInt8] = []
    private var endedWithCarriageReturn = false
    private var isFirstLine = true
    private var name = ""
    private var data: [UInt8]?
    private var id = ""

    package init(maximumEventBytes: Int = 1 << 20) { self.maximumEventBytes = maximumEventBytes }

    /// Takes the next bytes and returns the events that they complete.
    ///
    /// - Throws: `malformedResponse` for an event above ``maximumEventBytes``.
    package mutating func receive(_ bytes: some Sequence<UInt8>) throws(HTTPClientError) -> [ServerSentEvent] {
        var events: [ServerSentEvent] = []
        for byte in bytes {
            let isSecondHalf = byte == UInt8(ascii: "\n") && endedWithCarriageReturn
            endedWithCarriageReturn = byte == UInt8(ascii: "\r")
            if isSecondHalf { continue }
            if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") {
                if let event = endLine() { events.append(event) }
            } else {
                line.append(byte)
            }
            guard line.count + (data?.count ?? 0) <= maximumEventBytes else {
                throw .malformedResponse("an event of more than \(maximumEventBytes) bytes")
            }
        }
        return events
    }

    private mutating func endLine() -> ServerSentEvent? {
        defer { line.removeAll(keepingCapacity: true) }
        if isFirstLine {
            isFirstLine = false
            if line.starts(with: [0xEF, 0xBB, 0xBF]) { line.removeFirst(3) }  // a byte order mark
        }
        guard !line.isEmpty else { return endEvent() }
        let colon = line.firstIndex(of: UInt8(ascii: ":")) ?? line.endIndex
        var value = line[colon...].dropFirst()
        if value.first == UInt8(ascii: " ") { value = value.dropFirst() }
        switch String(decoding: line[..<colon], as: UTF8.self) {
        case "data":
            if data == nil { data = [] } else { data?.append(UInt8(ascii: "\n")) }
            data?.append(contentsOf: value)
        case "event": name = String(decoding: value, as: UTF8.self)
        case "id": if !value.contains(0) { id = String(decoding: value, as: UTF8.self) }
        default: break  // a comment (no name), `retry`, or a field of another time
        }
        return nil
    }

    private mutating func endEvent() -> ServerSentEvent? {
        defer {
            name = ""
            data = nil
        }
        guard let data else { return nil }
        return ServerSentEvent(name: name.isEmpty ? "message" : name, data: String(decoding: data, as: UTF8.self), id: id)
    }
}
