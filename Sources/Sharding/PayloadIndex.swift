import Model
import Storage
import VectorMath

/// Which rows of a mapped segment have which values at which keys of their payloads: a filter of matches and ranges is
/// answered from here, without a look at a payload.
///
/// | section | element | |
/// | --- | --- | --- |
/// | `filter.keys` | bytes | the directory, below |
/// | `filter.keywords` | bytes | of each key, ascending: 0 or 1 for false and true, 2 and the text (NFC, at most 128 bytes) for a string |
/// | `filter.keyword.ends` | UInt64 | where each keyword ends in the section before |
/// | `filter.postings` | UInt32 | rows of each keyword, ascending |
/// | `filter.posting.ends` | UInt64 | where each keyword's rows end in the section before |
/// | `filter.numbers` | Double | of each key, ascending |
/// | `filter.number.rows` | UInt32 | row of each number |
///
/// | size | field of the directory (little-endian) |
/// | --- | --- |
/// | 1 | bit 0: every key is here, none was one too many or too long; bit 1: the same of the names that follow |
/// | 4 | number of names of members that look like paths, for which payloads are decoded; then for each: |
/// | 4 + n | – length and name |
/// | 4 | number of keys, ascending; then for each: |
/// | 1 + n | – length and path: names of members with dots between; arrays on the way leave no trace |
/// | 8, 8 | – its first keyword, number of its keywords |
/// | 8, 8 | – its first number, the number after its last |
@safe final class PayloadIndex: Sendable {
    private struct Key {
        let keywords: Range<Int>
        let numbers: Range<Int>
    }
    private let file: SegmentFile
    private let rowCount: Int
    private let hasAllKeys: Bool
    private let hasAllIrregularNames: Bool
    private let irregularNames: Set<String>
    private let keys: [String: Key]
    private nonisolated(unsafe) let keywords: UnsafeRawBufferPointer
    private nonisolated(unsafe) let keywordEnds: UnsafeBufferPointer<UInt64>
    private nonisolated(unsafe) let postings: UnsafeBufferPointer<UInt32>
    private nonisolated(unsafe) let postingEnds: UnsafeBufferPointer<UInt64>
    private nonisolated(unsafe) let numbers: UnsafeBufferPointer<Double>
    private nonisolated(unsafe) let numberRows: UnsafeBufferPointer<UInt32>

    /// `nil` for a segment that was written before there was such an index.
    ///
    /// - Complexity: O(values), for checks that make look-ups safe.
    init?(_ file: SegmentFile, rowCount: Int) throws(SegmentError) {
        guard file.contains("filter.keys") else { return nil }
        func malformed(_ section: String, _ reason: String) -> SegmentError { .malformedSection(path: file.path, section: section, reason: reason) }
        self.file = file
        self.rowCount = rowCount
        unsafe keywords = try unsafe file.bytes(of: "filter.keywords")
        unsafe keywordEnds = try unsafe file.elements(of: "filter.keyword.ends", as: UInt64.self)
        let keywordCount = unsafe keywordEnds.count
        unsafe postings = try unsafe file.elements(of: "filter.postings", as: UInt32.self)
        unsafe postingEnds = try unsafe file.elements(of: "filter.posting.ends", as: UInt64.self, count: keywordCount)
        unsafe numbers = try unsafe file.elements(of: "filter.numbers", as: Double.self)
        let numberCount = unsafe numbers.count
        unsafe numberRows = try unsafe file.elements(of: "filter.number.rows", as: UInt32.self, count: numberCount)
        guard unsafe Self.ascend(keywordEnds, to: keywords.count) else { throw malformed("filter.keyword.ends", "offsets fall or miss the end") }
        guard unsafe Self.ascend(postingEnds, to: postings.count) else { throw malformed("filter.posting.ends", "offsets fall or miss the end") }
        guard unsafe postings.allSatisfy({ $0 < rowCount }) else { throw malformed("filter.postings", "a row beyond \(rowCount)") }
        guard unsafe numberRows.allSatisfy({ $0 < rowCount }) else { throw malformed("filter.number.rows", "a row beyond \(rowCount)") }
        do throws(FormatError) {
            var reader = ByteReader(unsafe Array(try Self.bytes(file, "filter.keys")))
            let flags = try reader.read(UInt8.self)
            (hasAllKeys, hasAllIrregularNames) = (flags & 1 != 0, flags & 2 != 0)
            var names: Set<String> = []
            for _ in 0..<(try reader.readCount(of: 4)) {
                names.insert(String(decoding: try reader.read(count: try reader.readCount(of: 1)), as: UTF8.self))
            }
            irregularNames = names
            var keys: [String: Key] = [:]
            for _ in 0..<(try reader.readCount(of: 33)) {
                let path = try reader.readShort()
                let fields = [try reader.read(UInt64.self), try reader.read(UInt64.self), try reader.read(UInt64.self), try reader.read(UInt64.self)]
                guard fields[0] <= keywordCount, fields[1] <= UInt64(keywordCount) - fields[0], fields[2] <= fields[3], fields[3] <= numberCount else {
                    throw .malformed("key \"\(path)\" has values that are not there")
                }
                keys[path] = Key(keywords: Int(fields[0])..<Int(fields[0] + fields[1]), numbers: Int(fields[2])..<Int(fields[3]))
            }
            self.keys = keys
        } catch { throw malformed("filter.keys", error.description) }
    }

    /// Bytes of the mapped file that look-ups touch.
    var byteCount: Int { unsafe keywords.count + keywordEnds.count * 16 + postings.count * 4 + numbers.count * 12 }

    // MARK: - Filters

    /// What of a filter the index can say.
    ///
    /// - Returns: The rows that may pass, and the conditions that are still to be asked of each: empty if all of the rows pass.
    func narrowed(by filter: Filter, row: (PointID) -> Int?) -> (candidates: RowBitmap, rest: Filter) {
        var candidates = RowBitmap(rowCount: rowCount, filled: true)
        var rest = Filter()
        for condition in filter.must {
            if let rows = rows(holding: condition, row: row) { candidates.formIntersection(rows) } else { rest.must.append(condition) }
        }
        for condition in filter.mustNot {
            if let rows = rows(holding: condition, row: row) { candidates.subtract(rows) } else { rest.mustNot.append(condition) }
        }
        let any = filter.should.map { rows(holding: $0, row: row) }
        if any.contains(nil) {
            rest.should = filter.should
        } else if !any.isEmpty {
            var union = RowBitmap(rowCount: rowCount)
            for case let rows? in any { union.formUnion(rows) }
            candidates.formIntersection(union)
        }
        return (candidates, rest)
    }

    /// The rows for which a condition holds; `nil` if payloads must be asked.
    private func rows(holding condition: Filter.Condition, row: (PointID) -> Int?) -> RowBitmap? {
        var rows = RowBitmap(rowCount: rowCount)
        switch condition {
        case .match(let path, let values):
            guard covers(path) else { return nil }
            let key = keys[Self.canonical(path)]
            for value in values {
                if let number = value.double {
                    // Beyond, several integers are one floating-point number here.
                    guard number.magnitude < 0x1p53 else { return nil }
                    if let key { insert(numbersOf: key, from: { $0 >= number }, to: { $0 > number }, into: &rows) }
                } else {
                    guard let keyword = Keyword(value) else { return nil }
                    if let key, let place = find(keyword, in: key.keywords) { insert(postingsOf: place, into: &rows) }
                }
            }
        case .range(let path, let range):
            guard covers(path) else { return nil }
            guard let key = keys[Self.canonical(path)] else { return rows }
            let lower = Filter.Range(greaterThan: range.greaterThan, greaterOrEqual: range.greaterOrEqual)
            let upper = Filter.Range(lessThan: range.lessThan, lessOrEqual: range.lessOrEqual)
            insert(numbersOf: key, from: { lower.contains($0) }, to: { !upper.contains($0) }, into: &rows)
        case .hasID(let ids): for id in ids { if let row = row(id) { rows.insert(row) } }
        case .nested(let filter):
            let (candidates, rest) = narrowed(by: filter, row: row)
            return rest.isEmpty ? candidates : nil
        case .matchExcept, .isEmpty: return nil
        }
        return rows
    }

    /// Whether the index knows all rows with a value at this key.
    private func covers(_ path: String) -> Bool {
        let isRegular = hasAllIrregularNames || !(path.contains(".") || path.hasSuffix("[]"))
        return isRegular && !irregularNames.contains(path) && (hasAllKeys || keys[Self.canonical(path)] != nil)
    }

    /// The path that a filter's key names; see ``Filter``.
    private static func canonical(_ key: String) -> String {
        guard key.contains("[]") else { return key }
        return key.split(separator: ".", omittingEmptySubsequences: false).map { $0.hasSuffix("[]") ? $0.dropLast(2) : $0 }.joined(separator: ".")
    }

    // MARK: - Look-ups

    /// Inserts the rows of a key's numbers from the first for which `starts` holds up to the first for which `ends` holds.
    private func insert(numbersOf key: Key, from starts: (Double) -> Bool, to ends: (Double) -> Bool, into rows: inout RowBitmap) {
        let first = key.numbers.partitionPoint { unsafe starts(numbers[$0]) }
        let end = (first..<key.numbers.upperBound).partitionPoint { unsafe ends(numbers[$0]) }
        for index in first..<end { rows.insert(unsafe Int(numberRows[index])) }
    }

    private func find(_ keyword: Keyword, in range: Range<Int>) -> Int? {
        let place = range.partitionPoint { unsafe !self.keyword($0).lexicographicallyPrecedes(keyword.bytes) }
        return unsafe range.contains(place) && self.keyword(place).elementsEqual(keyword.bytes) ? place : nil
    }

    @unsafe private func keyword(_ place: Int) -> Slice<UnsafeRawBufferPointer> {
        let start = place == 0 ? 0 : unsafe Int(keywordEnds[place - 1])
        return unsafe keywords[start..<Int(keywordEnds[place])]
    }

    private func insert(postingsOf keyword: Int, into rows: inout RowBitmap) {
        let start = keyword == 0 ? 0 : unsafe Int(postingEnds[keyword - 1])
        for index in start..<(unsafe Int(postingEnds[keyword])) { rows.insert(unsafe Int(postings[index])) }
    }

    @unsafe private static func bytes(_ file: SegmentFile, _ section: String) throws(FormatError) -> UnsafeRawBufferPointer {
        do throws(SegmentError) { return try unsafe file.bytes(of: section) } catch { throw .malformed(error.description) }
    }

    @unsafe private static func ascend(_ ends: UnsafeBufferPointer<UInt64>, to count: Int) -> Bool {
        var previous: UInt64 = 0
        for index in unsafe ends.indices {
            let end = unsafe ends[index]
            if end < previous { return false }
            previous = end
        }
        return previous == count
    }
}

extension Range<Int> {
    /// The first index for which `isPast` holds, given that it holds for all after it; the upper bound if it holds for none.
    fileprivate func partitionPoint(_ isPast: (Int) -> Bool) -> Int {
        var (low, high) = (lowerBound, upperBound)
        while low < high {
            let middle = (low + high) / 2
            if isPast(middle) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
