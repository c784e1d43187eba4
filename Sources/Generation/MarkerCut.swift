/// Ends a reply where the model begins to copy the prompt's markers: what follows are sources, not an answer.
///
/// Small models do so when they should have stopped. The marker is cut off by its nonce, which no answer can hold otherwise. Text that may be the
/// beginning of a marker is held back until that is decided.
package struct MarkerCut {
    private let markers: [String]
    private var held = ""
    private var hasBegun = false
    private var skipsLine = false
    /// Whether a marker was met: the reply is over.
    package private(set) var isCut = false

    package init(nonce: String) { markers = ["<<\(nonce)", nonce] }

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
            return before
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
        if !shown.allSatisfy(\.isWhitespace) { hasBegun = true }
        return shown
    }

    /// What was held back, at the end of the reply.
    package mutating func finish() -> String {
        defer { held = "" }
        return held
    }
}
