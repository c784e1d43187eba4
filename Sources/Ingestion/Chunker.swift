import Embedding
import Model

/// Cuts a document into chunks along its structure.
///
/// A chunk is a range of the document's bytes. Chunks begin at headings; within a section, lists, tables and code stay whole where
/// they fit, and what does not fit is cut at items, rows or sentences, then at words, then between characters. Every byte of every
/// block is in a chunk. A chunk's `embedded` text is its title, its headings and its text without markup, and never has more than
/// `limit` tokens.
///
/// Cost: every byte is tokenized about twice, once to measure and once to check.
struct Chunker {
    /// A chunk before it is embedded.
    struct Piece {
        var range: Range<Int>
        var headings: [String]
        var embedded: String
        /// Tokens of `embedded`, special ones included.
        var tokens: Int
    }

    private let document: ParsedDocument
    private let title: String
    private let embedder: any Embedder
    private let configuration: IngestionConfiguration
    /// Most tokens of an embedded text, special ones included.
    private let limit: Int
    /// Tokens that every text has, such as [CLS] and [SEP].
    private let specialTokens: Int

    init(_ document: ParsedDocument, title: String, embedder: any Embedder, configuration: IngestionConfiguration) {
        self.document = document
        self.title = title
        self.embedder = embedder
        self.configuration = configuration
        limit = min(configuration.maximumTokens, embedder.maximumTokens)
        specialTokens = embedder.tokenCount("")
    }

    /// - Throws: `resourceExhausted` if there are more than `maximumChunks`.
    func pieces() throws(ClusterError) -> [Piece] {
        var drafts: [Draft] = []
        for section in sections() {
            drafts += pack(section)
            guard drafts.count <= configuration.maximumChunks * 2 else { throw tooManyChunks() }
        }
        let pieces = merge(drafts).flatMap(compose)
        guard pieces.count <= configuration.maximumChunks else { throw tooManyChunks() }
        return pieces
    }

    private func tooManyChunks() -> ClusterError {
        ClusterError(.resourceExhausted, "the document has more than \(configuration.maximumChunks) chunks, the limit of maximumChunks; split the file")
    }
}

// MARK: - Sections

extension Chunker {
    /// A heading and the blocks up to the next one; the first may have no heading.
    private struct Section {
        var path: [String]
        var blocks: Range<Int>
    }

    private func sections() -> [Section] {
        var sections: [Section] = []
        var open: [(level: Int, title: String)] = []
        var start = 0
        func close(at end: Int) {
            if end > start { sections.append(Section(path: open.map(\.title), blocks: start..<end)) }
            start = end
        }
        for (index, block) in document.blocks.enumerated() {
            guard case .heading(let level, let title) = block.kind else { continue }
            close(at: index)
            open.removeAll { $0.level >= level }
            open.append((level, title))
        }
        close(at: document.blocks.count)
        return sections
    }
}

// MARK: - Packing

extension Chunker {
    /// Fills chunks with the section's blocks, in order.
    private func pack(_ section: Section) -> [Draft] {
        let budget = limit - specialTokens - tokens(ofPrefix: prefix(for: section.path))
        var filler = ChunkFiller(path: section.path, budget: budget, maximumBytes: configuration.maximumChunkBytes, overlapTokens: configuration.overlapTokens,
            smallTokens: configuration.smallSectionTokens)
        for index in section.blocks {
            filler.append(block: parts(of: document.blocks[index], depth: section.path.count, limit: budget))
        }
        return filler.finish()
    }

    /// The block's items, rows or lines (of a paragraph, the whole), each as its smallest parts of at most `limit` tokens.
    private func parts(of block: ParsedDocument.Block, depth: Int, limit: Int) -> [[Atom]] {
        if case .heading = block.kind { return [atoms(in: block.range, depth: depth, limit: limit)] }
        var finerCuts = block.finerCuts[...]
        return split(block.range, at: block.cuts).map { part in
            // A paragraph is cut into sentences in any case: the last one is what the next chunk repeats.
            if block.kind != .paragraph, let atom = atom(part, depth: 0), atom.tokens <= limit { return [atom] }
            finerCuts = finerCuts.drop { $0 <= part.lowerBound }
            let inside = Array(finerCuts.prefix { $0 < part.upperBound })
            return split(part, at: inside).flatMap { sentences(in: $0, limit: limit, always: block.kind == .paragraph) }
        }
    }

    private func sentences(in range: Range<Int>, limit: Int, always: Bool) -> [Atom] {
        if !always, let atom = atom(range, depth: 0), atom.tokens <= limit { return [atom] }
        let starts = SentenceSplitter.starts(in: document.text, range, markup: document.markup)
        return split(range, at: starts).flatMap { atoms(in: $0, depth: 0, limit: limit) }
    }

    private func split(_ range: Range<Int>, at cuts: [Int]) -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        var start = range.lowerBound
        for cut in cuts + [range.upperBound] where cut > start {
            ranges.append(start..<cut)
            start = cut
        }
        return ranges
    }

    /// `range` as one atom, or halved until each part has at most `limit` tokens. O(range × log).
    private func atoms(in range: Range<Int>, depth: Int, limit: Int) -> [Atom] {
        let range = document.trimmed(range)
        guard !range.isEmpty else { return [] }
        if let atom = atom(range, depth: depth), atom.tokens <= limit { return [atom] }
        guard let middle = middle(of: range) else { return atom(range, depth: depth).map { [$0] } ?? [] }  // one character
        return atoms(in: range.lowerBound..<middle, depth: depth, limit: limit) + atoms(in: middle..<range.upperBound, depth: depth, limit: limit)
    }

    /// `nil` if the range has more bytes than an atom may have, so that a line of megabytes is not tokenized whole.
    private func atom(_ range: Range<Int>, depth: Int) -> Atom? {
        let range = document.trimmed(range)
        guard range.count <= configuration.maximumChunkBytes / 2, !range.isEmpty else { return nil }
        return Atom(range: range, tokens: embedder.tokenCount(document.embeddableText(range)) - specialTokens, headingDepth: depth)
    }

    /// Where to halve `range`: at white space near the middle, else between two characters; `nil` for a single character.
    private func middle(of range: Range<Int>) -> Int? {
        let middle = range.lowerBound + range.count / 2
        let reach = min(range.count / 4, 256)
        for distance in 0..<max(1, reach) {
            for offset in [middle + distance, middle - distance] where offset > range.lowerBound && document.text[offset].isSpace { return offset }
        }
        var offset = middle
        while offset > range.lowerBound, !document.text[offset].startsCharacter { offset -= 1 }
        if offset > range.lowerBound { return offset }
        offset = middle + 1
        while offset < range.upperBound, !document.text[offset].startsCharacter { offset += 1 }
        return offset < range.upperBound ? offset : nil
    }
}

// MARK: - Merging

extension Chunker {
    /// Joins small sections with their neighbours, as far as the limits allow.
    private func merge(_ drafts: [Draft]) -> [Draft] {
        var merged: [Draft] = []
        for draft in drafts {
            if let last = merged.last, let joined = join(last, draft) {
                merged[merged.count - 1] = joined
            } else {
                merged.append(draft)
            }
        }
        return merged
    }

    private func join(_ a: Draft, _ b: Draft) -> Draft? {
        let (aTokens, bTokens) = (a.tokens(under: a.path), b.tokens(under: b.path))
        // What is left of a section that was cut stays its own chunk: with a part of another it would belong to neither.
        guard a.isWhole, b.isWhole || aTokens == 0, min(aTokens, bTokens) < configuration.smallSectionTokens else { return nil }
        // A heading without text of its own belongs to what it introduces; otherwise only what both share is true of the whole.
        let path = aTokens == 0 && b.path.starts(with: a.path) ? b.path : commonPrefix(a.path, b.path)
        let joined = Draft(path: path, atoms: a.atoms + b.atoms, isWhole: b.isWhole)
        guard joined.range.count <= configuration.maximumChunkBytes else { return nil }
        let tokens = specialTokens + tokens(ofPrefix: prefix(for: path)) + joined.tokens(under: path)
        return tokens <= limit ? joined : nil
    }

    private func commonPrefix(_ a: [String], _ b: [String]) -> [String] {
        var count = 0
        while count < a.count, count < b.count, a[count] == b[count] { count += 1 }
        return Array(a.prefix(count))
    }
}

// MARK: - Composing

extension Chunker {
    /// The draft as a piece, or several if the embedder counts more tokens in the whole than in the parts.
    private func compose(_ draft: Draft) -> [Piece] {
        let body = draft.atoms.filter { !($0.headingDepth > 0 && $0.headingDepth <= draft.path.count) }
            .map { document.embeddableText($0.range) }.joined(separator: "\n")
        let embedded = prefix(for: draft.path) + body
        let tokens = embedder.tokenCount(embedded)
        if tokens > limit, draft.atoms.count > 1 {
            let half = draft.atoms.count / 2
            return compose(Draft(path: draft.path, atoms: Array(draft.atoms[..<half])))
                + compose(Draft(path: draft.path, atoms: Array(draft.atoms[half...])))
        }
        return [Piece(range: draft.range, headings: draft.path, embedded: embedded, tokens: tokens)]
    }

    private func tokens(ofPrefix prefix: String) -> Int { embedder.tokenCount(prefix) - specialTokens }

    /// Title and headings as they precede a chunk's text, at most a third of the limit: outer headings go first, then the title's end.
    private func prefix(for path: [String]) -> String {
        var title = Substring(self.title.prefix(1_000))
        var headings = path.filter { $0 != self.title }
        var text = Chunker.line(title, headings)
        while tokens(ofPrefix: text) > limit / 3 {
            if headings.isEmpty { title = title.prefix(title.count / 2) } else { headings.removeFirst() }
            text = Chunker.line(title, headings)
        }
        return text
    }

    private static func line(_ title: Substring, _ headings: [String]) -> String {
        (title.isEmpty ? headings : [String(title)] + headings).joined(separator: ": ") + "\n"
    }
}
