import Foundation
import Model
import Storage

/// Collects what the payloads of a segment hold at their keys, and writes it as the sections that ``PayloadIndex`` reads.
struct PayloadIndexBuilder {
    /// Keys of one segment that are indexed. Reason: bounds the directory, which is read whole; beyond, filters decode payloads.
    static let keyLimit = 256
    /// Longest keyword indexed, in bytes. Reason: longer strings are texts, which nobody matches whole.
    static let keywordByteLimit = 128

    private struct Key {
        /// Number of each keyword, in the order of their first rows.
        var keywords: [PayloadIndex.Keyword: UInt32] = [:]
        /// Keyword and row, rows ascending.
        var postings: [(keyword: UInt32, row: UInt32)] = []
        var numbers: [(value: Double, row: UInt32)] = []
    }
    private var keys: [String: Key] = [:]
    /// Members of the outermost object whose names are no paths: a filter may mean such a member, or a path spelled the same.
    private var irregularNames: Set<String> = []
    private var hasAllKeys = true
    private var hasAllIrregularNames = true

    /// Takes the payload of the next row.
    mutating func add(_ payload: Payload, row: Int) {
        for (name, value) in payload {
            if name.contains(".") || name.hasSuffix("[]") { note(irregular: name) }
            if !name.contains(".") { add(value, at: name, row: UInt32(row)) }
        }
    }

    private mutating func note(irregular name: String) {
        guard irregularNames.count < Self.keyLimit else { return hasAllIrregularNames = false }
        irregularNames.insert(name)
    }

    private mutating func add(_ value: JSONValue, at path: String, row: UInt32) {
        if case .array(let elements) = value {
            // Only one level: an array inside an array is a value that no path goes into.
            for element in elements { addElement(element, at: path, row: row) }
        } else {
            addElement(value, at: path, row: row)
        }
    }

    private mutating func addElement(_ value: JSONValue, at path: String, row: UInt32) {
        switch value {
        case .object(let members):
            // A name with a dot cannot be reached: a filter's key is divided there.
            for (name, value) in members where !name.contains(".") { add(value, at: "\(path).\(name)", row: row) }
        case .integer, .number: withKey(path) { $0.numbers.append((value.double!, row)) }
        case .string, .bool:
            guard let keyword = PayloadIndex.Keyword(value) else { return }
            withKey(path) { key in
                let number = UInt32(key.keywords.count)
                key.postings.append((key.keywords[keyword] ?? number, row))
                if key.postings.last!.keyword == number { key.keywords[keyword] = number }
            }
        case .null, .array: break
        }
    }

    private mutating func withKey(_ path: String, _ body: (inout Key) -> Void) {
        if keys[path] == nil {
            guard keys.count < Self.keyLimit, path.utf8.count <= 255 else { return hasAllKeys = false }
            keys[path] = Key()
        }
        body(&keys[path]!)
    }

    /// Writes the sections. O(values × log values).
    func write(into writer: SegmentWriter) throws(SegmentError) {
        var directory = ByteWriter()
        directory.append(UInt8((hasAllKeys ? 1 : 0) | (hasAllIrregularNames ? 2 : 0)))
        directory.append(UInt32(irregularNames.count))
        for name in irregularNames.sorted() {
            directory.append(UInt32(name.utf8.count))
            directory.append(bytes: name.utf8)
        }
        directory.append(UInt32(keys.count))
        var keywords: [UInt8] = []
        var (keywordEnds, postingEnds): ([UInt64], [UInt64]) = ([], [])
        var (postings, numberRows): ([UInt32], [UInt32]) = ([], [])
        var numbers: [Double] = []
        for (path, key) in keys.sorted(by: { $0.key < $1.key }) {
            directory.append(short: path)
            directory.append(UInt64(keywordEnds.count))
            directory.append(UInt64(key.keywords.count))
            directory.append(UInt64(numbers.count))
            let sorted = key.keywords.sorted { $0.key < $1.key }
            var rank = [Int](repeating: 0, count: sorted.count)
            for (place, keyword) in sorted.enumerated() {
                rank[Int(keyword.value)] = place
                keywords += keyword.key.bytes
                keywordEnds.append(UInt64(keywords.count))
            }
            var rows = [[UInt32]](repeating: [], count: sorted.count)
            // Rows come in ascending order; an array may hold one keyword twice.
            for (keyword, row) in key.postings where rows[rank[Int(keyword)]].last != row { rows[rank[Int(keyword)]].append(row) }
            for list in rows {
                postings += list
                postingEnds.append(UInt64(postings.count))
            }
            for (value, row) in key.numbers.sorted(by: { $0.value == $1.value ? $0.row < $1.row : $0.value < $1.value }) {
                numbers.append(value)
                numberRows.append(row)
            }
            directory.append(UInt64(numbers.count))
        }
        try writer.addSection("filter.keys", directory.bytes)
        try writer.addSection("filter.keywords", keywords)
        try writer.addSection("filter.keyword.ends", elements: keywordEnds)
        try writer.addSection("filter.postings", elements: postings)
        try writer.addSection("filter.posting.ends", elements: postingEnds)
        try writer.addSection("filter.numbers", elements: numbers)
        try writer.addSection("filter.number.rows", elements: numberRows)
    }
}

extension PayloadIndex {
    /// A string or a truth value as bytes that are equal when a filter takes the values for equal.
    struct Keyword: Hashable, Comparable {
        let bytes: [UInt8]

        /// `nil` for a value that is no keyword, or a longer string than is indexed.
        init?(_ value: JSONValue) {
            switch value {
            case .bool(let value): bytes = [value ? 1 : 0]
            case .string(let text):
                // Equal strings may have different bytes: é is one scalar or two.
                let utf8 = text.utf8.allSatisfy { $0 < 0x80 } ? Array(text.utf8) : Array(text.precomposedStringWithCanonicalMapping.utf8)
                guard utf8.count <= PayloadIndexBuilder.keywordByteLimit else { return nil }
                bytes = [2] + utf8
            default: return nil
            }
        }

        static func < (a: Keyword, b: Keyword) -> Bool { a.bytes.lexicographicallyPrecedes(b.bytes) }
    }
}
