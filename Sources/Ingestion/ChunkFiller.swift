extension Chunker {
    /// A run of text that is not cut further.
    struct Atom {
        var range: Range<Int>
        var tokens: Int
        /// Of a heading, how many headings its path has; else 0.
        var headingDepth: Int
    }

    /// Atoms that will be one chunk.
    struct Draft {
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
}

/// Puts atoms into drafts of at most `budget` tokens and `maximumBytes` bytes.
struct ChunkFiller {
    let path: [String]
    let budget: Int
    let maximumBytes: Int
    let overlapTokens: Int
    let smallTokens: Int
    private var drafts: [Chunker.Draft] = []
    private var open: Chunker.Draft
    private var openTokens = 0
    /// The open draft has nothing yet but the last sentence of the one before.
    private var holdsOnlyOverlap = false

    init(path: [String], budget: Int, maximumBytes: Int, overlapTokens: Int, smallTokens: Int) {
        self.path = path
        self.budget = budget
        self.maximumBytes = maximumBytes
        self.overlapTokens = overlapTokens
        self.smallTokens = smallTokens
        open = Chunker.Draft(path: path)
    }

    /// A block that fits into one chunk is not cut, and of one that does not, a part that fits is not.
    mutating func append(block parts: [[Chunker.Atom]]) {
        let whole = parts.flatMap(\.self)
        if parts.count == 1 || whole.reduce(0, { $0 + weight($1) }) <= budget {
            append(whole)
        } else {
            for part in parts { append(part) }
        }
    }

    private mutating func append(_ atoms: [Chunker.Atom]) {
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

    mutating func finish() -> [Chunker.Draft] {
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
        let halves = (Chunker.Draft(path: path, atoms: Array(atoms[..<count]), isWhole: false), Chunker.Draft(path: path, atoms: Array(atoms[count...]), isWhole: false))
        guard halves.1.range.count <= maximumBytes else { return }
        (drafts[end - 1], drafts[end]) = halves
    }

    /// The section's own heading is in the prefix already.
    private func weight(_ atom: Chunker.Atom) -> Int { atom.headingDepth > 0 ? 0 : atom.tokens }

    private func hasRoom(for tokens: Int, upTo end: Int?) -> Bool {
        guard let start = open.atoms.first?.range.lowerBound, let end else { return true }
        return openTokens + tokens <= budget && end - start <= maximumBytes
    }

    private mutating func close(overlapping: Bool) {
        let isShort = open.atoms.last.map { $0.headingDepth == 0 && $0.tokens <= min(overlapTokens, budget / 4) } ?? false
        let repeated = overlapping && isShort && open.atoms.count > 1 ? open.atoms.last : nil
        if !open.atoms.isEmpty, !holdsOnlyOverlap { drafts.append(open) }
        open = Chunker.Draft(path: path, atoms: repeated.map { [$0] } ?? [])
        openTokens = repeated?.tokens ?? 0
        holdsOnlyOverlap = repeated != nil
    }
}
