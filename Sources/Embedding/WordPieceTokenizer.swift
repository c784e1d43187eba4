import Model

/// Cuts text into the tokens of an uncased BERT vocabulary.
///
/// Words end at white space; punctuation marks and CJK ideographs are words of their own; each word becomes the longest
/// pieces of the vocabulary from left to right, or `[UNK]` as a whole. Text is data: `[SEP]` in it is three words, never the
/// special token.
///
/// - SeeAlso: Devlin et al., "BERT", 2019; Wu et al., "Google's Neural Machine Translation System", 2016.
package struct WordPieceTokenizer: Sendable {
    /// A token and where its first character begins in the UTF-8 of the text.
    package struct Token: Sendable, Hashable {
        package var id: Int32
        package var byteOffset: Int
    }

    /// A longer word is `[UNK]`, as in the model's training. It also bounds the work on a text without spaces.
    private static let maximumWordScalars = 100

    private let pieces: PieceTrie
    private let unknown: Int32
    private let start: Int32
    private let end: Int32
    package let vocabularyCount: Int

    /// - Parameter vocabulary: One token a line, its id the line's number from 0; pieces inside a word begin with `##`.
    /// - Throws: `invalidArgument` when `[UNK]`, `[CLS]` or `[SEP]` is missing or a line is not UTF-8.
    package init(vocabulary: [UInt8]) throws(ClusterError) {
        guard let text = String(validating: vocabulary, as: UTF8.self) else {
            throw ClusterError(.invalidArgument, "vocabulary is not UTF-8")
        }
        // By scalar: as a `Character`, the last `#` of `##` and a vowel sign after it would be one.
        var lines = text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        var pieces = PieceTrie()
        for index in lines.indices {
            if lines[index].last == "\r" { lines[index].removeLast() }
            let isContinuation = lines[index].starts(with: "##".unicodeScalars)
            pieces.insert(lines[index].dropFirst(isContinuation ? 2 : 0), isContinuation: isContinuation, id: Int32(index))
        }
        func special(_ token: String) throws(ClusterError) -> Int32 {
            guard let id = lines.firstIndex(where: { $0.elementsEqual(token.unicodeScalars) }) else {
                throw ClusterError(.invalidArgument, "vocabulary of \(lines.count) tokens has no \(token)")
            }
            return Int32(id)
        }
        unknown = try special("[UNK]")
        start = try special("[CLS]")
        end = try special("[SEP]")
        vocabularyCount = lines.count
        self.pieces = pieces
    }

    /// The ids the model reads: `[CLS]`, the text's tokens cut so that all fit in `maximumTokens`, `[SEP]`.
    ///
    /// - Complexity: O(what is needed to find `maximumTokens` tokens), not the length of the text.
    package func encode(_ text: String, maximumTokens: Int) -> [Int32] {
        var ids = [start]
        forEachToken(of: text) { token in
            guard ids.count < maximumTokens - 1 else { return false }
            ids.append(token.id)
            return true
        }
        ids.append(end)
        return ids
    }

    /// How many tokens `text` has with `[CLS]` and `[SEP]`, without a cut.
    package func count(_ text: String) -> Int {
        var count = 2
        forEachToken(of: text) { _ in
            count += 1
            return true
        }
        return count
    }

    /// The text's tokens with their places, without special ones.
    package func tokens(of text: String) -> [Token] {
        var tokens: [Token] = []
        forEachToken(of: text) { token in
            tokens.append(token)
            return true
        }
        return tokens
    }

    /// Calls `body` with each token in order until it returns false.
    private func forEachToken(of text: String, _ body: (Token) -> Bool) {
        var word = Word()
        var byteOffset = 0
        for scalar in text.unicodeScalars {
            defer { byteOffset += UTF8.width(scalar) }
            switch BertNormalization.class(of: scalar) {
            case .dropped: break
            case .space: guard endWord(&word, body) else { return }
            case .letter(let normalized): word.append(normalized, at: byteOffset)
            case .alone(let normalized):
                guard endWord(&word, body) else { return }
                word.append(normalized, at: byteOffset)
                guard endWord(&word, body) else { return }
            case .several(let normalized, let isIdeograph):
                if isIdeograph { guard endWord(&word, body) else { return } }
                for part in normalized {
                    let isAlone = BertNormalization.isPunctuation(part)
                    if isAlone { guard endWord(&word, body) else { return } }
                    word.append(part, at: byteOffset)
                    if isAlone { guard endWord(&word, body) else { return } }
                }
                if isIdeograph { guard endWord(&word, body) else { return } }
            }
        }
        _ = endWord(&word, body)
    }

    /// A word as it grows: its first scalars and where each came from.
    private struct Word {
        var scalars: [(scalar: UInt32, byteOffset: Int)] = []
        var isTooLong = false

        mutating func append(_ scalar: UInt32, at byteOffset: Int) {
            if scalars.count < maximumWordScalars { scalars.append((scalar, byteOffset)) } else { isTooLong = true }
        }
    }

    /// Cuts a word into pieces and hands them on; false when `body` wants no more.
    private func endWord(_ word: inout Word, _ body: (Token) -> Bool) -> Bool {
        guard !word.scalars.isEmpty else { return true }
        defer {
            word.scalars.removeAll(keepingCapacity: true)
            word.isTooLong = false
        }
        var found: [Token] = []
        var index = 0
        while index < word.scalars.count, !word.isTooLong {
            guard let match = pieces.longestMatch(in: word.scalars, from: index) else { break }
            found.append(Token(id: match.id, byteOffset: word.scalars[index].byteOffset))
            index = match.end
        }
        guard index == word.scalars.count else { return body(Token(id: unknown, byteOffset: word.scalars[0].byteOffset)) }
        return found.allSatisfy(body)
    }
}

/// The vocabulary as a tree of scalars: one walk finds the longest piece.
private struct PieceTrie: Sendable {
    private static let wordRoot: UInt64 = 0
    private static let continuationRoot: UInt64 = 1
    /// (node << 21 | scalar) → node; a scalar has at most 21 bits.
    private var children: [UInt64: UInt64] = [:]
    /// The id of the piece that ends at each node; -1: none does.
    private var ids: [Int32] = [-1, -1]

    mutating func insert(_ piece: String.UnicodeScalarView.SubSequence, isContinuation: Bool, id: Int32) {
        guard !piece.isEmpty else { return }
        var node = isContinuation ? Self.continuationRoot : Self.wordRoot
        for scalar in piece {
            let key = node << 21 | UInt64(scalar.value)
            if let next = children[key] {
                node = next
            } else {
                node = UInt64(ids.count)
                ids.append(-1)
                children[key] = node
            }
        }
        ids[Int(node)] = id
    }

    func longestMatch(in word: [(scalar: UInt32, byteOffset: Int)], from start: Int) -> (id: Int32, end: Int)? {
        var node = start == 0 ? Self.wordRoot : Self.continuationRoot
        var best: (id: Int32, end: Int)?
        for index in start..<word.count {
            guard let next = children[node << 21 | UInt64(word[index].scalar)] else { break }
            node = next
            if ids[Int(node)] >= 0 { best = (ids[Int(node)], index + 1) }
        }
        return best
    }
}
