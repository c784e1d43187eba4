/// Words with their places on pages, as `pdftotext -bbox-layout` prints them.
struct PDFLayout {
    struct Line {
        var text: String
        var left: Double
        var right: Double
        /// Distance from the page's top, in points.
        var top: Double
        var bottom: Double
        /// Lines of a block belong to one paragraph.
        var block: Int
        /// Height of the tallest word, which grows with the size of the font.
        var height: Double
    }

    struct Page {
        /// From 1, as the file counts.
        var number: Int
        var height: Double
        var lines: [Line] = []
    }

    /// From the file's metadata; empty if it has none.
    private(set) var title = ""
    private(set) var pages: [Page] = []

    init(title: String, pages: [Page]) {
        self.title = title
        self.pages = pages
    }

    /// Reads the XHTML that `pdftotext` prints, an element a line. What does not look like it is skipped. O(output).
    init(parsing output: [UInt8]) {
        var block = 0
        var line: Line?
        for range in LineRanges(output).ranges {
            let bytes = output[range].drop { $0.isSpace }
            if bytes.starts(with: "<word ".utf8) {
                guard let word = Self.word(bytes), line != nil else { continue }
                let height = Self.number("yMax", in: bytes) - Self.number("yMin", in: bytes)
                line!.text += line!.text.isEmpty ? word : " " + word
                line!.height = max(line!.height, height)
            } else if bytes.starts(with: "<line ".utf8) {
                line = Line(
                    text: "", left: Self.number("xMin", in: bytes), right: Self.number("xMax", in: bytes), top: Self.number("yMin", in: bytes),
                    bottom: Self.number("yMax", in: bytes), block: block, height: 0)
            } else if bytes.starts(with: "</line>".utf8) {
                if let line, !line.text.isEmpty, !pages.isEmpty { pages[pages.count - 1].lines.append(line) }
                line = nil
            } else if bytes.starts(with: "<block ".utf8) {
                block += 1
            } else if bytes.starts(with: "<page ".utf8) {
                pages.append(Page(number: pages.count + 1, height: Self.number("height", in: bytes)))
            } else if bytes.starts(with: "<title>".utf8), title.isEmpty {
                title = Self.content(bytes)
            }
        }
    }

    private static func word(_ element: ArraySlice<UInt8>) -> String? {
        let word = content(element)
        return word.isEmpty ? nil : word
    }

    /// What is between the first tag and the next.
    private static func content(_ element: ArraySlice<UInt8>) -> String {
        guard let start = element.firstIndex(of: UInt8(ascii: ">")) else { return "" }
        return unescaped(element[(start + 1)...].prefix { $0 != UInt8(ascii: "<") })
    }

    private static func number(_ name: String, in element: ArraySlice<UInt8>) -> Double {
        guard let found = element.firstRange(of: Array("\(name)=\"".utf8)) else { return 0 }
        let value = Double(String(decoding: element[found.upperBound...].prefix { $0 != UInt8(ascii: "\"") }, as: UTF8.self)) ?? 0
        return value.isFinite ? value : 0
    }

    private static func unescaped(_ bytes: ArraySlice<UInt8>) -> String {
        let text = String(decoding: bytes, as: UTF8.self).filter { $0 != "\u{ad}" && $0 != "\u{fffd}" }
        guard text.contains("&") else { return text }
        return text.replacing("&lt;", with: "<").replacing("&gt;", with: ">").replacing("&quot;", with: "\"").replacing("&apos;", with: "'")
            .replacing("&#39;", with: "'").replacing("&amp;", with: "&")
    }
}
