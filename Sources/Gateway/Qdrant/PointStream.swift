import Model

/// Reads the points of an upsert out of its body while that arrives: what has been read is let go, so memory holds one point's text at
/// a time.
///
/// The body is an object whose member `points` is a list; the other members are judged as they come, which may be behind the points.
package struct PointStream {
    /// Of one point's text.
    let maximumPointBytes: Int
    package private(set) var pointCount = 0
    private var window: [UInt8] = []
    /// Where in the window the next token or element begins, and how far it has been looked through.
    private var position = 0
    private var scanned = 0
    /// Offset of the window in the body.
    private var base = 0
    private var element = ElementEnd()
    private var phase = Phase.start
    private var seen: Set<String> = []

    private enum Phase: Equatable {
        case start, key, points, value(String), behindValue, end
    }

    package init(maximumPointBytes: Int) { self.maximumPointBytes = maximumPointBytes }

    /// Takes the next bytes of the body. Returns the points that are whole now, in order.
    ///
    /// - Throws: 400 naming the point or the member, or the place in the body; 413 for a point of more than `maximumPointBytes`.
    package mutating func receive(_ bytes: some Collection<UInt8>) throws -> [Point] {
        window.append(contentsOf: bytes)
        var points: [Point] = []
        while try step(&points) {}
        guard window.count - position <= maximumPointBytes else {
            throw RequestError(.contentTooLarge, code: "request_too_large", "points[\(pointCount)] has more than \(maximumPointBytes) bytes, the limit of one point")
        }
        base += position
        scanned -= position
        window.removeFirst(position)
        position = 0
        return points
    }

    /// - Throws: 400 if the body ended too early, or without points.
    package func finish() throws {
        guard phase == .end else { throw failure("unexpected end of the text") }
        guard seen.contains("points") else { throw RequestError.invalid("points", "points is missing") }
    }

    /// Goes on to the next token or element. Returns `false` if that needs more bytes.
    private mutating func step(_ points: inout [Point]) throws -> Bool {
        skipSpace()
        guard position < window.count else { return false }
        let byte = window[position]
        switch phase {
        case .start:
            guard byte == UInt8(ascii: "{") else { throw failure("expected \"{\"") }
            advance(to: .key)
        case .key:
            if byte == UInt8(ascii: "}"), seen.isEmpty { advance(to: .end) } else { return try readKey() }
        case .behindValue:
            guard byte == UInt8(ascii: ",") || byte == UInt8(ascii: "}") else { throw failure("expected \",\" or \"}\"") }
            advance(to: byte == UInt8(ascii: ",") ? .key : .end)
        case .points:
            if byte == UInt8(ascii: "]"), !needsPoint { advance(to: .behindValue) } else if byte == UInt8(ascii: ","), hasPoint {
                (hasPoint, needsPoint) = (false, true)
                advance(to: .points)
            } else {
                guard !hasPoint else { throw failure("expected \",\" or \"]\"") }
                return try readPoint(&points)
            }
        case .value(let key): return try readValue(of: key)
        case .end: throw failure("expected the end of the text")
        }
        return true
    }

    /// A point was read and no comma behind it; a comma was read and no point behind it.
    private var hasPoint = false
    private var needsPoint = false

    private mutating func advance(to next: Phase) {
        position += 1
        scanned = position
        phase = next
    }

    private mutating func readKey() throws -> Bool {
        guard window[position] == UInt8(ascii: "\"") else { throw failure("expected a key in quotes") }
        guard let end = element.find(in: window, from: &scanned) else { return false }
        // Short, so it is looked at anew if what follows it has not come yet.
        (element, scanned) = (ElementEnd(), position)
        guard let colon = window[end...].firstIndex(where: { !$0.isJSONSpace }) else { return false }
        guard window[colon] == UInt8(ascii: ":") else { throw failure("expected \":\"") }
        guard case .string(let key) = try read(end) else { throw failure("expected a key in quotes") }
        guard seen.insert(key).inserted else { throw failure("key \"\(key)\" occurs twice") }
        if key == "points" {
            guard let bracket = window[(colon + 1)...].firstIndex(where: { !$0.isJSONSpace }) else {
                seen.remove(key)
                return false
            }
            guard window[bracket] == UInt8(ascii: "[") else { throw RequestError.invalid("points", "points must be an array") }
            consume(bracket + 1, .points)
        } else {
            consume(colon + 1, .value(key))
        }
        return true
    }

    private mutating func readPoint(_ points: inout [Point]) throws -> Bool {
        guard window[position] == UInt8(ascii: "{") else { throw RequestError.invalid("points[\(pointCount)]", "points[\(pointCount)] must be an object") }
        guard let end = element.find(in: window, from: &scanned) else { return false }
        points.append(try QdrantPoints.point(try read(end), at: "points[\(pointCount)]"))
        pointCount += 1
        (hasPoint, needsPoint) = (true, false)
        consume(end, .points)
        return true
    }

    /// A member beside the points: none may say anything.
    private mutating func readValue(of key: String) throws -> Bool {
        if key == "batch", window[position] != UInt8(ascii: "n") {  // not null: said before it has come
            throw RequestError.invalid("batch", "batch: a body that is written in parts must have points, a list with an object for each; batch goes up to the limit of other bodies")
        }
        guard let end = element.find(in: window, from: &scanned) else { return false }
        var fields = try JSONFields(.object([.init(key: key, value: try read(end))]))
        try fields.refuse("shard_key", "update_filter", "update_mode")
        _ = fields.take("batch")
        try fields.finish()
        consume(end, .behindValue)
        return true
    }

    private mutating func consume(_ end: Int, _ next: Phase) {
        position = end
        scanned = end
        element = ElementEnd()
        phase = next
    }

    private func read(_ end: Int) throws -> JSONInput {
        do { return try JSONReader.read(Array(window[position..<end])) } catch {
            let what = phase == .points ? "points[\(pointCount)], " : ""
            throw ClusterError(error.code, "\(what)\(base + position) bytes into the body: \(error.message)")
        }
    }

    private mutating func skipSpace() {
        let start = position
        while position < window.count, window[position].isJSONSpace { position += 1 }
        if position > start, scanned < position { scanned = position }
    }

    private func failure(_ what: String) -> ClusterError {
        ClusterError(.invalidArgument, "not valid JSON at byte \(base + position)\(phase == .points ? ", behind points[\(pointCount - 1)]" : ""): \(what)")
    }
}
