import Model

/// Finds citations in an answer as it streams, and takes out those of sources that were not given.
///
/// A citation is a number in square brackets, or several: `[1]`, `[1, 2]`, `[1; 2]`, `[1-3]`, `[source 2]`, `[^2]`. What says 0 or a number
/// that no source ever has, such as `[2017]` or `[1939-1945]`, is none, and stays. Code (between backticks) is left alone. Only what may still become a citation is held back, with the white space before it, so the
/// rest of a piece goes out at once. What is taken out takes the white space before it along.
struct CitationFilter: Sendable {
    /// One number cited.
    struct Mark: Hashable, Sendable {
        var source: Int
        /// Where the citation begins in the filtered text, in bytes.
        var offset: Int
    }

    /// Citations that stand in the text, in order.
    private(set) var marks: [Mark] = []
    /// Numbers cited that were not given.
    private(set) var removed = 0

    private let given: Set<Int>
    private var written = 0
    private var spaces = ""
    /// From `[` on; empty outside a possible citation.
    private var held = ""
    private var code = CodeState()

    /// Longest text in brackets that can be a citation, in characters. Reason: `[sources 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]` fits.
    private static let longest = 64

    /// - Parameter given: Numbers of the sources in the prompt.
    init(given: some Sequence<Int>) { self.given = Set(given) }

    /// Takes the answer's next piece, cut anywhere, and returns what is certain by now.
    mutating func receive(_ piece: String) -> String {
        var output = ""
        for scalar in piece.unicodeScalars { take(scalar, into: &output) }
        return output
    }

    /// The text still held back when the answer has ended.
    mutating func finish() -> String {
        var output = ""
        release(into: &output)
        return output
    }

    private mutating func take(_ scalar: Unicode.Scalar, into output: inout String) {
        if held.isEmpty {
            code.take(scalar)
            switch scalar {
            case "[" where !code.isInside: held = "["
            case " ", "\t":
                if spaces.utf8.count >= Self.longest { release(into: &output) }
                spaces.unicodeScalars.append(scalar)
            default:
                release(into: &output)
                write(String(scalar), into: &output)
            }
        } else if scalar == "]" {
            held += "]"
            close(into: &output)
        } else if isPossible(scalar), held.utf8.count < Self.longest {
            held.unicodeScalars.append(scalar)
        } else {
            release(into: &output)
            take(scalar, into: &output)
        }
    }

    private func isPossible(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "0"..."9", " ", ",", ";", "-", "–", "^", ":", "#": true
        default: scalar.properties.isAlphabetic && !held.contains { $0.isNumber }
        }
    }

    private mutating func close(into output: inout String) {
        guard let numbers = Self.numbers(in: held.dropFirst().dropLast()) else { return release(into: &output) }
        let kept = numbers.filter(given.contains)
        removed += numbers.count - kept.count
        if kept.isEmpty {
            held = ""
            spaces = ""
            return
        }
        let citation = kept.count == numbers.count ? held : kept.map { "[\($0)]" }.joined()
        held = ""
        write(spaces, into: &output)
        spaces = ""
        for number in kept { marks.append(Mark(source: number, offset: written)) }
        write(citation, into: &output)
    }

    private mutating func release(into output: inout String) {
        write(spaces, into: &output)
        write(held, into: &output)
        spaces = ""
        held = ""
    }

    private mutating func write(_ text: String, into output: inout String) {
        output += text
        written += text.utf8.count
    }

    /// The numbers that `text`, what stands between the brackets, cites; `nil` if it is no citation.
    private static func numbers(in text: Substring) -> [Int]? {
        var text = text.drop { $0 == " " }
        for word in ["sources", "source", "^", "#"] where text.lowercased().hasPrefix(word) {
            text = text.dropFirst(word.count)
            break
        }
        var numbers: [Int] = []
        for part in text.drop(while: { $0 == " " || $0 == ":" }).split(separator: /[,;]/, omittingEmptySubsequences: false) {
            let bounds = part.split(separator: /[-–]/, omittingEmptySubsequences: false).map { $0.filter { $0 != " " && $0 != "^" && $0 != "#" } }
            let values = bounds.compactMap { $0.utf8.allSatisfy { (48...57).contains($0) } ? Int($0) : nil }
            guard values.count == bounds.count, (1...2).contains(values.count), let first = values.first, let last = values.last,
                first >= 1, first <= last, last <= AnswerRequest.maximumSources
            else { return nil }
            numbers += first...last
        }
        return numbers.isEmpty ? nil : numbers
    }
}

/// Whether the text at hand is code: in a fence of three backticks, or in a line between single ones.
private struct CodeState: Sendable {
    private var ticks = 0
    private var isFenced = false
    private var isInline = false

    var isInside: Bool { isFenced || isInline }

    mutating func take(_ scalar: Unicode.Scalar) {
        if scalar == "`" {
            ticks += 1
            return
        }
        if ticks >= 3 { isFenced.toggle() } else if ticks > 0, !isFenced { isInline.toggle() }
        ticks = 0
        if scalar == "\n" { isInline = false }
    }
}
