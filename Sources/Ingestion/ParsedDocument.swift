import Model

/// What a reader makes of a file: its text, and the structure that was found in it.
///
/// Of Markdown and plain text, `text` is the file's own, decoded to UTF-8 without its byte order mark; of other formats it is
/// what was extracted. Every offset is in bytes of `text`.
package struct ParsedDocument: Sendable {
    /// What the file says its title is; `nil` if it does not say.
    package var title: String?
    /// Valid UTF-8.
    package var text: [UInt8]
    /// Ascending and disjoint. What lies in no block (blank lines, front matter, comments) is not part of the body.
    package var blocks: [Block]
    /// Bytes within blocks that are markup, such as a link's target: kept in `text`, left out of what is embedded. Ascending and disjoint.
    package var markup: [Range<Int>]
    /// Where parts of the original begin, such as pages. Ascending.
    package var marks: [Mark] = []
    /// What had to be done to make text of the file, lower-case fragments: for whoever sent it.
    package var notes: [String] = []

    package init(title: String? = nil, text: [UInt8], blocks: [Block] = [], markup: [Range<Int>] = []) {
        self.title = title
        self.text = text
        self.blocks = blocks
        self.markup = markup
    }

    /// What stands at `offset` and behind it, up to the next mark, is in this part of the original.
    package struct Mark: Hashable, Sendable {
        package var offset: Int
        package var place: Chunk.Place

        package init(offset: Int, place: Chunk.Place) {
            self.offset = offset
            self.place = place
        }
    }

    /// A run of text that is cut only if it does not fit into a chunk.
    package struct Block: Hashable, Sendable {
        package enum Kind: Hashable, Sendable {
            /// Opens a section. `level` counts from 1, the outermost; `title` is the heading without markup.
            case heading(level: Int, title: String)
            case paragraph
            case list
            case table
            case code
        }
        package var kind: Kind
        package var range: Range<Int>
        /// Where the block is best cut if it has to be: the starts of its items, rows or lines, without the block's own start. Ascending.
        package var cuts: [Int]
        /// Where an item that does not fit is best cut: the starts of nested items, paragraphs and lines of code. Ascending.
        package var finerCuts: [Int]

        package init(_ kind: Kind, _ range: Range<Int>, cuts: [Int] = [], finerCuts: [Int] = []) {
            self.kind = kind
            self.range = range
            self.cuts = cuts
            self.finerCuts = finerCuts
        }
    }
}

extension ParsedDocument {
    /// The bytes of `range` without markup, each run of white space as one space, none at the ends. O(log markup + range).
    package func embeddableText(_ range: Range<Int>) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(range.count)
        var next = markup.firstIndexSorted { $0.upperBound > range.lowerBound }
        var offset = range.lowerBound
        while offset < range.upperBound {
            var byte = text[offset]
            if next < markup.count, markup[next].contains(offset) {
                offset = markup[next].upperBound
                next += 1
                // A tag or a table's bar stands between words, an emphasis mark may stand inside one.
                guard "|<>".utf8.contains(byte) else { continue }
                byte = UInt8(ascii: " ")
            } else {
                offset += 1
            }
            if !byte.isSpace {
                bytes.append(byte)
            } else if let last = bytes.last, last != UInt8(ascii: " ") {
                bytes.append(UInt8(ascii: " "))
            }
        }
        if bytes.last == UInt8(ascii: " ") { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The parts of the original that `range` is in; `nil` if the format has none. O(log marks).
    func place(of range: Range<Int>) -> Chunk.Place? {
        let next = marks.firstIndexSorted { $0.offset > range.lowerBound }
        let end = marks.firstIndexSorted { $0.offset >= range.upperBound }
        guard next > 0 || end > next else { return nil }
        let first = marks[max(0, next - 1)].place
        return Chunk.Place(first.unit, first.first, marks[max(next, end) - 1].place.last)
    }

    /// `range` without white space at its ends.
    func trimmed(_ range: Range<Int>) -> Range<Int> { text.trimmed(range) }
}

extension [UInt8] {
    /// `range` without white space at its ends.
    func trimmed(_ range: Range<Int>) -> Range<Int> {
        var (start, end) = (range.lowerBound, range.upperBound)
        while start < end, self[start].isSpace { start += 1 }
        while end > start, self[end - 1].isSpace { end -= 1 }
        return start..<end
    }
}

extension RandomAccessCollection where Index == Int {
    /// The first index whose element satisfies `isPast`, which no element does before one that does not; `endIndex` if none. O(log n).
    func firstIndexSorted(where isPast: (Element) -> Bool) -> Int {
        var (low, high) = (startIndex, endIndex)
        while low < high {
            let middle = low + (high - low) / 2
            if isPast(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

extension UInt8 {
    /// White space of ASCII.
    var isSpace: Bool { self == 0x20 || (0x09...0x0d).contains(self) }
    var isDigit: Bool { (0x30...0x39).contains(self) }
    var isLetter: Bool { (0x41...0x5a).contains(self) || (0x61...0x7a).contains(self) }
    var isUpper: Bool { (0x41...0x5a).contains(self) }
    /// Whether a character of UTF-8 starts here.
    var startsCharacter: Bool { self & 0xc0 != 0x80 }
}
