/// The lines of a text, each without its end (`\n`, `\r\n` or `\r`).
///
/// O(text) to make; nothing is copied.
struct LineRanges {
    let ranges: [Range<Int>]

    init(_ text: [UInt8], in range: Range<Int>? = nil) {
        let range = range ?? 0..<text.count
        var ranges: [Range<Int>] = []
        var start = range.lowerBound
        var offset = start
        while offset < range.upperBound {
            let byte = text[offset]
            guard byte == 0x0a || byte == 0x0d else {
                offset += 1
                continue
            }
            ranges.append(start..<offset)
            offset += byte == 0x0d && offset + 1 < range.upperBound && text[offset + 1] == 0x0a ? 2 : 1
            start = offset
        }
        if start < range.upperBound { ranges.append(start..<range.upperBound) }
        self.ranges = ranges
    }
}
