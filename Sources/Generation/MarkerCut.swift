/// Ends a reply where the model begins to copy the prompt's markers: what follows are sources, not an answer.
///
/// Small models do so when they should have stopped. The marker is known by its nonce, which no answer holds otherwise, or by half of it after the brackets: small models miscopy it. Text that may be the
/// beginning of a marker is held back until that is decided. White space before the first word goes.
package struct MarkerCut {
    private let markers: [String]
    private var held = ""
    private var hasBegun = false
    private var skipsLine = false
    /// Whether a marker was met: the reply is over.
    package private(set) var isCut = false

    package init(nonce: String) { markers = ["<<\(nonce.prefix(4))", nonce] }

    /// - Returns: What can be shown.
    package mutating func receive(_ text: String) -> String {
        guard !isCut else { return "" }
        held += text
        while true {
            if skipsLine {
                guard let end = held.firstIndex(of: "\n") else {
                    held = ""
                    return ""
                }
                held.removeSubrange(...end)
                skipsLine = false
            }
            guard let found = markers.lazy.compactMap({ [held] in held.firstRange(of: $0) }).first else { break }
            let before = String(held[..<found.lowerBound])
            // A reply may also begin with a marker's line; the answer comes after it.
            if !hasBegun && before.allSatisfy(\.isWhitespace) {
                held.removeSubrange(..<found.upperBound)
                skipsLine = true
                continue
            }
            isCut = true
            held = ""
            return begun(before)
        }
        var keep = held.endIndex
        for marker in markers {
            for length in stride(from: min(marker.count - 1, held.count), to: 0, by: -1) where marker.hasPrefix(held.suffix(length)) {
                keep = min(keep, held.index(held.endIndex, offsetBy: -length))
                break
            }
        }
        let shown = String(held[..<keep])
        held.removeSubrange(..<keep)
        return begun(shown)
    }

    /// What was held back, at the end of the reply.
    package mutating func finish() -> String {
        defer { held = "" }
        return begun(held)
    }

    private mutating func begun(_ text: String) -> String {
        guard !hasBegun else { return text }
        let text = text.drop(while: \.isWhitespace)
        hasBegun = !text.isEmpty
        return String(text)
    }
}
