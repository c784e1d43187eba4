import Model

/// Finds what pandoc leaves out of a Word or OpenDocument text: text boxes, shapes, some fields, head rows of tables.
enum OfficeRemainder {
    /// The elements of Word and OpenDocument that stand between two words.
    private static let separators: Set<String> = [
        "tab", "br", "cr", "sym", "noBreakHyphen", "softHyphen", "ptab", "footnoteReference", "endnoteReference", "s", "line-break", "soft-page-break", "note",
    ]
    /// What is not shown, is another form of what is, or is formulas, which pandoc rewrites.
    private static let hidden: Set<String> = ["Fallback", "oMath", "tracked-changes", "annotation"]

    /// The paragraphs, in order, that have a word which is nowhere in `text`; none if the file's XML cannot be read. O(`xml` + `text`).
    ///
    /// - Parameter textElement: What text stands in; `nil` if it stands in the paragraph itself.
    static func paragraphs(of xml: [UInt8], in textElement: String?, missingFrom text: [UInt8]) -> [String] {
        let known = Set(words(of: String(decoding: text, as: UTF8.self)))
        var paragraphs: [String] = []
        var open: [String] = []
        var (textDepth, hiddenDepth) = (textElement == nil ? 1 : 0, 0)
        try? XMLEvents.read(xml, part: "the text") { event in
            switch event {
            case .open(let name, _) where hidden.contains(name): hiddenDepth += 1
            case .close(let name) where hidden.contains(name): hiddenDepth -= 1
            case .open("p", _), .open("h", _): open.append("")
            case .close("p"), .close("h"):
                guard let paragraph = open.popLast() else { return }
                if !open.isEmpty { open[open.count - 1] += " " }
                if !words(of: paragraph).allSatisfy(known.contains) { paragraphs.append(paragraph) }
            case .open(let name, _) where name == textElement: textDepth += 1
            case .close(let name) where name == textElement: textDepth -= 1
            case .open(let name, _) where separators.contains(name): if !open.isEmpty { open[open.count - 1] += " " }
            case .text(let piece): if textDepth > 0, hiddenDepth == 0, !open.isEmpty { open[open.count - 1] += piece }
            default: break
            }
        }
        return paragraphs
    }

    /// Runs of letters: the number of a note may stand right behind a word.
    private static func words(of text: String) -> [Substring] { text.split { !$0.isLetter } }
}
