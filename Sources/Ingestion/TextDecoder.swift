import Model

/// Turns a file's bytes into UTF-8.
enum TextDecoder {
    /// Decodes by the byte order mark, else as UTF-8, else as windows-1252, of which Latin-1's text is a part.
    ///
    /// A text that is UTF-8 but for a few damaged places stays UTF-8, with U+FFFD there. Line ends stay as they are.
    ///
    /// - Throws: `invalidArgument` for bytes that are no text.
    static func decode(_ bytes: [UInt8]) throws(ClusterError) -> [UInt8] {
        if bytes.starts(with: [0xef, 0xbb, 0xbf]) { return repaired(bytes.dropFirst(3)) }
        if bytes.starts(with: [0xff, 0xfe]) { return utf16(bytes.dropFirst(2), high: 1) }
        if bytes.starts(with: [0xfe, 0xff]) { return utf16(bytes.dropFirst(2), high: 0) }
        if let kind = DocumentFormat.binaryKind(of: bytes) { throw ClusterError(.invalidArgument, "undecodable as text: it is \(kind)") }
        guard !looksBinary(bytes) else { throw ClusterError(.invalidArgument, "undecodable as text: it holds binary data") }
        return decodeUnmarked(bytes)
    }

    /// As ``decode(_:)``, for bytes that are known to be text without a byte order mark.
    static func decodeUnmarked(_ bytes: [UInt8]) -> [UInt8] {
        if String(validating: bytes, as: UTF8.self) != nil { return bytes }
        let text = repaired(bytes[...])
        let (whole, damaged) = multibyteCharacters(in: text)
        return whole > damaged ? text : windows1252(bytes)
    }

    /// Whether the first 64 KiB hold NUL or many control characters: no encoding of text but UTF-16 does.
    static func looksBinary(_ bytes: [UInt8]) -> Bool {
        let sample = bytes.prefix(1 << 16)
        guard !sample.starts(with: [0xff, 0xfe]), !sample.starts(with: [0xfe, 0xff]) else { return false }
        var controls = 0
        for byte in sample {
            if byte == 0 { return true }
            if byte < 0x20, !byte.isSpace, byte != 0x1b { controls += 1 }
        }
        return controls * 50 > sample.count
    }

    private static func repaired(_ bytes: ArraySlice<UInt8>) -> [UInt8] { Array(String(decoding: bytes, as: UTF8.self).utf8) }

    /// Characters beyond ASCII, and of these the replacement characters.
    private static func multibyteCharacters(in text: [UInt8]) -> (whole: Int, damaged: Int) {
        var (whole, damaged) = (0, 0)
        for (offset, byte) in text.enumerated() where byte >= 0xc0 {
            let isReplacement = byte == 0xef && offset + 2 < text.count && text[offset + 1] == 0xbf && text[offset + 2] == 0xbd
            if isReplacement { damaged += 1 } else { whole += 1 }
        }
        return (whole, damaged)
    }

    private static func utf16(_ bytes: ArraySlice<UInt8>, high: Int) -> [UInt8] {
        var units: [UInt16] = []
        units.reserveCapacity(bytes.count / 2)
        for offset in stride(from: bytes.startIndex, to: bytes.endIndex - 1, by: 2) {
            units.append(UInt16(bytes[offset + high]) << 8 | UInt16(bytes[offset + 1 - high]))
        }
        return Array(String(decoding: units, as: UTF16.self).utf8)
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
