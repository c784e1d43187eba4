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
    /// A run of text that is not cut further.
    private struct Atom {
        var range: Range<Int>
        var tokens: Int
        /// Of a heading, how many headings its path has; else 0.
        var headingDepth: Int
    }

    /// Atoms that will be one chunk.
    private struct Draft {
        var path: [String]
        var atoms: [Atom] = []
        /// Holds all of its section.
        var isWhole = true

        var range: Range<Int> { atoms[0].range.lowerBound..<atoms[atoms.count - 1].range.upperBound }
        /// Tokens of the text, without those headings that its path already says.
        func tokens(under path: [String]) -> Int {
            atoms.reduce(0) { $0 + ($1.headingDepth > 0 && $1.headingDepth <= path.count ? 0 : $1.tokens) }
        }
    }

    /// Fills chunks with the section's blocks, in order.
    private func pack(_ section: Section) -> [Draft] {
        let budget = limit - specialTokens - tokens(ofPrefix: prefix(for: section.path))
        var filler = Filler(path: section.path, budget: budget, maximumBytes: configuration.maximumChunkBytes, overlapTokens: configuration.overlapTokens,
            smallTokens: configuration.smallSectionTokens)
        for index in section.blocks {
            filler.append(block: parts(of: document.blocks[index], depth: section.path.count, limit: budget))
        }
        return filler.finish()
    }

    /// Puts atoms into drafts of at most `budget` tokens and `maximumBytes` bytes.
    private struct Filler {
        let path: [String]
        let budget: Int
        let maximumBytes: Int
        let overlapTokens: Int
        let smallTokens: Int
        private var drafts: [Draft] = []
        private var open: Draft
        private var openTokens = 0
        /// The open draft has nothing yet but the last sentence of the one before.
        private var holdsOnlyOverlap = false

        init(path: [String], budget: Int, maximumBytes: Int, overlapTokens: Int, smallTokens: Int) {
            self.path = path
            self.budget = budget
            self.maximumBytes = maximumBytes
            self.overlapTokens = overlapTokens
            self.smallTokens = smallTokens
            open = Draft(path: path)
        }

        /// A block that fits into one chunk is not cut, and of one that does not, a part that fits is not.
        mutating func append(block parts: [[Atom]]) {
            let whole = parts.flatMap(\.self)
            if parts.count == 1 || whole.reduce(0, { $0 + weight($1) }) <= budget {
                append(whole)
            } else {
                for part in parts { append(part) }
            }
        }

        private mutating func append(_ atoms: [Atom]) {
            let total = atoms.reduce(0) { $0 + weight($1) }
            // Keeping the atoms together is not worth leaving the open chunk less than half full.
            if total <= budget, !hasRoom(for: total, upTo: atoms.last?.range.upperBound), openTokens * 2 >= budget { close(overlapping: false) }
            for atom in atoms {
                if !hasRoom(for: weight(atom), upTo: atom.range.upperBound) { close(overlapping: true) }
                if !hasRoom(for: weight(atom), upTo: atom.range.upperBound) { close(overlapping: false) }  // gives up the overlap
                open.atoms.append(atom)
                openTokens += weight(atom)
                holdsOnlyOverlap = false
            }
        }

        mutating func finish() -> [Draft] {
            if !open.atoms.isEmpty, !holdsOnlyOverlap { drafts.append(open) }
            if drafts.count > 1 {
                for index in drafts.indices { drafts[index].isWhole = false }
                balanceEnd()
            }
            return drafts
        }

        /// Shares the atoms of the last two drafts evenly if the last is small: a few words that are left over say little on their own.
        private mutating func balanceEnd() {
            let end = drafts.count - 1
            guard drafts[end].atoms.reduce(0, { $0 + weight($1) }) < smallTokens else { return }
            let before = end > 1 ? drafts[end - 2].range.upperBound : 0
            var atoms = drafts[end - 1].atoms.filter { $0.range.lowerBound >= before }
            atoms += drafts[end].atoms.filter { $0.range.lowerBound >= drafts[end - 1].range.upperBound }
            guard atoms.count > 1 else { return }
            let total = atoms.reduce(0) { $0 + weight($1) }
            var (count, tokens) = (0, 0)
            while count < atoms.count - 1, count == 0 || (tokens + weight(atoms[count])) * 2 <= total || atoms[count - 1].headingDepth > 0 {
                tokens += weight(atoms[count])
                count += 1
            }
            let halves = (Draft(path: path, atoms: Array(atoms[..<count]), isWhole: false), Draft(path: path, atoms: Array(atoms[count...]), isWhole: false))
            guard halves.1.range.count <= maximumBytes else { return }
            (drafts[end - 1], drafts[end]) = halves
        }

        /// The section's own heading is in the prefix already.
        private func weight(_ atom: Atom) -> Int { atom.headingDepth > 0 ? 0 : atom.tokens }

        private func hasRoom(for tokens: Int, upTo end: Int?) -> Bool {
            guard let start = open.atoms.first?.range.lowerBound, let end else { return true }
            return openTokens + tokens <= budget && end - start <= maximumBytes
        }

        private mutating func close(overlapping: Bool) {
            let isShort = open.atoms.last.map { $0.headingDepth == 0 && $0.tokens <= min(overlapTokens, budget / 4) } ?? false
            let repeated = overlapping && isShort && open.atoms.count > 1 ? open.atoms.last : nil
            if !open.atoms.isEmpty, !holdsOnlyOverlap { drafts.append(open) }
            open = Draft(path: path, atoms: repeated.map { [$0] } ?? [])
            openTokens = repeated?.tokens ?? 0
            holdsOnlyOverlap = repeated != nil
        }
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
