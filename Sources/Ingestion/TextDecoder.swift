import Model

/// A file's text as UTF-8, and what had to be done to it.
struct DecodedText {
    var bytes: [UInt8]
    /// What whoever sent the file may want to know, a lower-case fragment; `nil` if it was plain UTF-8, or marked as what it is.
    var note: String?
}

/// Turns a file's bytes into UTF-8.
enum TextDecoder {
    /// Decodes by the byte order mark, else as UTF-8, else as UTF-16 if every other byte is zero, else as windows-1252, of which Latin-1's
    /// text is a part.
    ///
    /// A text that is UTF-8 but for a few damaged places stays UTF-8, with U+FFFD there. Line ends stay as they are.
    ///
    /// - Throws: `invalidArgument` for bytes that are no text.
    static func decode(_ bytes: [UInt8]) throws(ClusterError) -> DecodedText {
        if bytes.starts(with: [0xef, 0xbb, 0xbf]) { return repaired(bytes.dropFirst(3)) }
        if bytes.starts(with: [0xff, 0xfe, 0, 0]) { return utf32(bytes.dropFirst(4), isBigEndian: false) }
        if bytes.starts(with: [0, 0, 0xfe, 0xff]) { return utf32(bytes.dropFirst(4), isBigEndian: true) }
        if bytes.starts(with: [0xff, 0xfe]) { return utf16(bytes.dropFirst(2), high: 1) }
        if bytes.starts(with: [0xfe, 0xff]) { return utf16(bytes.dropFirst(2), high: 0) }
        if let high = highByteOfUnmarkedUTF16(bytes) {
            var text = utf16(bytes[...], high: high)
            text.note = text.note ?? "read as UTF-16, which it does not say that it is"
            return text
        }
        if let kind = DocumentFormat.binaryKind(of: bytes) { throw ClusterError(.invalidArgument, "undecodable as text: it is \(kind)") }
        guard !looksBinary(bytes) else { throw ClusterError(.invalidArgument, "undecodable as text: it holds binary data") }
        return decodeUnmarked(bytes)
    }

    /// As ``decode(_:)``, for bytes that are known to be text without a byte order mark.
    static func decodeUnmarked(_ bytes: [UInt8]) -> DecodedText {
        if String(validating: bytes, as: UTF8.self) != nil { return DecodedText(bytes: bytes) }
        let text = repaired(bytes[...])
        let (whole, damaged) = multibyteCharacters(in: text.bytes)
        return whole > damaged ? text : DecodedText(bytes: windows1252(bytes), note: "read as windows-1252: it is not UTF-8 and does not say what it is")
    }

    /// Whether the first 64 KiB hold NUL or many control characters: no encoding of text but UTF-16 does.
    static func looksBinary(_ bytes: [UInt8]) -> Bool {
        let sample = bytes.prefix(1 << 16)
        guard !sample.starts(with: [0xff, 0xfe]), !sample.starts(with: [0xfe, 0xff]), highByteOfUnmarkedUTF16(bytes) == nil else { return false }
        var controls = 0
        for byte in sample {
            if byte == 0 { return true }
            if byte < 0x20, !byte.isSpace, byte != 0x1b { controls += 1 }
        }
        return controls * 50 > sample.count
    }

    /// Which byte of each two is the high one, if one of them is mostly zero and the other never: text of Latin letters in UTF-16.
    private static func highByteOfUnmarkedUTF16(_ bytes: [UInt8]) -> Int? {
        let sample = bytes.prefix(4_096)
        guard sample.count >= 8, sample.contains(0) else { return nil }
        var zeros = [0, 0]
        for (offset, byte) in sample.enumerated() {
            if byte == 0 { zeros[offset & 1] += 1 } else if offset & 1 == 0, byte < 0x20, !byte.isSpace { return nil }
        }
        let pairs = sample.count / 2
        for high in [0, 1] where zeros[high] * 10 >= pairs * 7 && zeros[1 - high] == 0 { return high }
        return nil
    }

    private static func repaired(_ bytes: ArraySlice<UInt8>) -> DecodedText {
        let text = Array(String(decoding: bytes, as: UTF8.self).utf8)
        guard text.count != bytes.count || !text.elementsEqual(bytes) else { return DecodedText(bytes: text) }
        let damaged = multibyteCharacters(in: text).damaged - multibyteCharacters(in: Array(bytes)).damaged
        return DecodedText(bytes: text, note: "\(damaged) places that are not UTF-8 were replaced by U+FFFD")
    }

    /// Characters beyond ASCII, and of these the replacement characters.
    private static func multibyteCharacters(in text: [UInt8]) -> (whole: Int, damaged: Int) {
        var (whole, damaged) = (0, 0)
        for (offset, byte) in text.enumerated() where byte >= 0xc0 {
            let isReplacement = byte == 0xef && offset + 2 < text.count && text[offset + 1] == 0xbf && text[offset + 2] == 0xbd
            if isReplacement { damaged += 1 } else { whole += 1 }
        }
        return (whole, damaged)
    }

    private static func utf16(_ bytes: ArraySlice<UInt8>, high: Int) -> DecodedText {
        var units: [UInt16] = []
        units.reserveCapacity(bytes.count / 2)
        for offset in stride(from: bytes.startIndex, to: bytes.endIndex - 1, by: 2) {
            units.append(UInt16(bytes[offset + high]) << 8 | UInt16(bytes[offset + 1 - high]))
        }
        return DecodedText(bytes: Array(String(decoding: units, as: UTF16.self).utf8), note: bytes.count % 2 == 0 ? nil : "UTF-16 that ends within a character")
    }

    private static func utf32(_ bytes: ArraySlice<UInt8>, isBigEndian: Bool) -> DecodedText {
        var text = String.UnicodeScalarView()
        for offset in stride(from: bytes.startIndex, to: bytes.endIndex - 3, by: 4) {
            let value = (0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(bytes[offset + (isBigEndian ? $1 : 3 - $1)]) }
            text.append(Unicode.Scalar(value) ?? "\u{fffd}")
        }
        return DecodedText(bytes: Array(String(text).utf8), note: bytes.count % 4 == 0 ? nil : "UTF-32 that ends within a character")
    }

    static func windows1252(_ bytes: [UInt8]) -> [UInt8] {
        var text = String.UnicodeScalarView()
        for byte in bytes {
            let value = (0x80..<0xa0).contains(byte) ? upperControls[Int(byte) - 0x80] : UInt16(byte)
            text.append(Unicode.Scalar(value) ?? "\u{fffd}")
        }
        return Array(String(text).utf8)
    }

    /// What windows-1252 has at 0x80…0x9f; the five bytes it leaves open map to themselves, as in the WHATWG's table.
    private static let upperControls: [UInt16] = [
        0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d, 0x17d, 0x8f,
        0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0x9d, 0x17e, 0x178,
    ]
}
