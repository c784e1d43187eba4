import Foundation

/// Encodings by their IANA names, decoded by the C library's iconv.
enum Charset {
    /// `bytes` as UTF-8; what the encoding does not have becomes U+FFFD. `nil` for an encoding that nobody knows. O(bytes).
    static func decode(_ bytes: [UInt8], from name: String) -> DecodedText? {
        switch name.lowercased() {
        case "", "utf-8", "utf8", "us-ascii", "ascii", "ansi_x3.4-1968", "unicode-1-1-utf-8", "unknown-8bit", "8bit", "7bit":
            return TextDecoder.decodeUnmarked(bytes)
        // As browsers do: who says Latin-1 means windows-1252.
        case "iso-8859-1", "latin1", "latin-1", "l1", "windows-1252", "cp1252", "x-cp1252": return DecodedText(bytes: TextDecoder.windows1252(bytes))
        default: break
        }
        guard name.utf8.count <= 40, name.utf8.allSatisfy({ $0.isLetter || $0.isDigit || "-_:.".utf8.contains($0) }) else { return nil }
        let converter = unsafe iconv_open("UTF-8", name)
        guard unsafe Int(bitPattern: converter) != -1 else { return nil }
        defer { unsafe iconv_close(converter) }
        var (text, input, damaged) = ([UInt8](), bytes, 0)
        text.reserveCapacity(bytes.count)
        var buffer = [CChar](repeating: 0, count: 1 << 14)
        let count = input.count
        unsafe input.withUnsafeMutableBytes { source in
            var next = unsafe source.baseAddress?.assumingMemoryBound(to: CChar.self)
            var left = count
            while left > 0 {
                let (code, written) = unsafe buffer.withUnsafeMutableBufferPointer { output in
                    var (end, room) = unsafe (output.baseAddress, output.count)
                    let code = unsafe iconv(converter, &next, &left, &end, &room)
                    return unsafe (code, output.count - room)
                }
                text += buffer.prefix(written).lazy.map { UInt8(bitPattern: $0) }
                guard code == -1, errno != E2BIG, left > 0 else { continue }
                damaged += 1
                text += [0xef, 0xbf, 0xbd]
                unsafe next = next! + 1
                left -= 1
            }
        }
        return DecodedText(bytes: text, note: damaged == 0 ? nil : "\(damaged) bytes that \(name) does not have were replaced by U+FFFD")
    }
}
