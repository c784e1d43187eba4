import Embedding
import Model

/// Cuts a text into pieces that an embedding model sees whole, between sentences where it can.
package struct TextWindows {
    /// Most pieces of one text. Reason: 16 of 256 tokens are 16 KiB of English, the longest question; each costs a search.
    package static let maximumCount = 16

    private let text: String
    private let embedder: any Embedder

    package init(of text: String, for embedder: any Embedder) {
        self.text = text
        self.embedder = embedder
    }

    /// Whether the model sees all of the text.
    package var isWhole: Bool { embedder.tokenCount(text) <= embedder.maximumTokens }

    /// As many sentences from the start on as the model sees.
    package func beginning() -> String { isWhole ? text : beginning(of: sentences()) }

    /// The whole text, the last piece first. That one is at most a quarter as long as the others: the question mostly stands at the end of a
    /// long message, and what stands before would drown it. Of a text with more than ``maximumCount`` pieces, those behind its beginning are missing.
    package func lastFirst() -> [String] {
        guard !isWhole else { return [text] }
        let sentences = sentences()
        var windows: [String] = []
        var end = sentences.count
        while end > 0, windows.count < Self.maximumCount {
            let limit = windows.isEmpty ? embedder.maximumTokens / 4 : embedder.maximumTokens
            var start = end - 1
            while start > 0, tokens(sentences[start - 1], through: sentences[end - 1]) <= limit { start -= 1 }
            windows.append(String(text[sentences[start].startIndex..<sentences[end - 1].endIndex]))
            end = start
        }
        if end > 0 { windows[windows.count - 1] = beginning(of: sentences) }
        return windows
    }

    private func beginning(of sentences: [Substring]) -> String {
        let end = sentences.dropFirst().firstIndex { tokens(sentences[0], through: $0) > embedder.maximumTokens } ?? sentences.endIndex
        return String(text[sentences[0].startIndex..<sentences[end - 1].endIndex])
    }

    private func tokens(_ first: Substring, through last: Substring) -> Int { embedder.tokenCount(String(text[first.startIndex..<last.endIndex])) }

    /// Sentences, and parts of those that the model would not see whole.
    private func sentences() -> [Substring] {
        SentenceSplitter.ranges(in: text).flatMap { range in
            halves(text[text.utf8.index(text.startIndex, offsetBy: range.lowerBound)..<text.utf8.index(text.startIndex, offsetBy: range.upperBound)])
        }
    }

    private func halves(_ part: Substring) -> [Substring] {
        guard embedder.tokenCount(String(part)) > embedder.maximumTokens, part.count > 1 else { return [part] }
        let middle = part.index(part.startIndex, offsetBy: part.count / 2)
        let space = part[..<middle].lastIndex(where: \.isWhitespace) ?? part.startIndex
        let cut = space > part.startIndex ? space : middle
        return halves(part[..<cut]) + halves(part[cut...])
    }
}
