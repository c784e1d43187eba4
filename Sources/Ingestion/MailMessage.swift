import Foundation
import Model

/// A message or a part of one (RFC 5322, MIME: RFC 2045–2047, 2231).
struct MailMessage {
    /// Names in lower case, values unfolded but still encoded, in order.
    private(set) var fields: [(name: String, value: String)] = []
    private let body: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) {
        var position = bytes.startIndex
        while position < bytes.endIndex {
            let end = bytes[position...].firstIndex(of: 0x0a) ?? bytes.endIndex
            var line = bytes[position..<end]
            if line.last == 0x0d { line = line.dropLast() }
            position = min(end + 1, bytes.endIndex)
            if line.isEmpty { break }
            let text = String(decoding: Charset.decode(Array(line), from: "utf-8")!.bytes, as: UTF8.self)
            if let first = line.first, first == 0x20 || first == 0x09, !fields.isEmpty {
                fields[fields.count - 1].value += " " + text.trimmingCharacters(in: .whitespaces)
            } else if let colon = text.firstIndex(of: ":"), text[..<colon].utf8.allSatisfy({ (0x21...0x7e).contains($0) }) {
                fields.append((text[..<colon].lowercased(), text[text.index(after: colon)...].trimmingCharacters(in: .whitespaces)))
            } else if fields.isEmpty, !line.starts(with: "From ".utf8) {
                break  // no header at all
            }
        }
        body = bytes[position...]
    }

    func field(_ name: String) -> String? { fields.first { $0.name == name }?.value }

    /// A field's value with its encoded words decoded; `nil` if it is missing or empty.
    func text(_ name: String) -> String? {
        guard let value = field(name).map(EncodedWords.decode), !value.allSatisfy(\.isWhitespace) else { return nil }
        return value
    }

    /// `text/plain` in lower case; what a message without the field is.
    var type: String {
        let type = field("content-type")?.prefix { $0 != ";" }.trimmingCharacters(in: .whitespaces).lowercased() ?? ""
        return type.contains("/") ? type : "text/plain"
    }

    var isAttachment: Bool { field("content-disposition")?.lowercased().hasPrefix("attachment") == true }

    var filename: String? { parameter("filename", of: "content-disposition") ?? parameter("name", of: "content-type") }

    /// The body without its transfer encoding.
    func content() -> [UInt8] {
        switch field("content-transfer-encoding")?.trimmingCharacters(in: .whitespaces).lowercased() {
        case "base64": return [UInt8](Data(base64Encoded: Data(body), options: .ignoreUnknownCharacters) ?? Self.damagedBase64(body))
        case "quoted-printable": return QuotedPrintable.decode(body, isHeader: false)
        default: return Array(body)
        }
    }

    /// The content as UTF-8, by the charset that the part names.
    func decodedText() -> DecodedText {
        let bytes = content()
        let name = parameter("charset", of: "content-type") ?? ""
        guard let text = Charset.decode(bytes, from: name) else {
            var text = TextDecoder.decodeUnmarked(bytes)
            text.note = "charset \(name.prefix(40)) is unknown"
            return text
        }
        return text
    }

    /// The parts of a multipart body, at most `limit`.
    func parts(limit: Int) -> [MailMessage] {
        guard let boundary = parameter("boundary", of: "content-type"), !boundary.isEmpty else { return [] }
        let delimiter = Array("--\(boundary)".utf8)
        var parts: [MailMessage] = []
        var start: Int?
        var position = body.startIndex
        while position < body.endIndex {
            let end = body[position...].firstIndex(of: 0x0a) ?? body.endIndex
            if body[position..<end].starts(with: delimiter) {
                if let start { parts.append(MailMessage(body[start..<max(start, Self.beforeLineEnd(position, body))])) }
                let isLast = body[position..<end].dropFirst(delimiter.count).starts(with: "--".utf8)
                guard !isLast, parts.count < limit else { return parts }
                start = min(end + 1, body.endIndex)
            }
            position = end + 1
        }
        if let start, start < body.endIndex { parts.append(MailMessage(body[start...])) }  // cut off
        return parts
    }

    /// The line end before a delimiter belongs to it.
    private static func beforeLineEnd(_ position: Int, _ body: ArraySlice<UInt8>) -> Int {
        var end = position
        if end > body.startIndex, body[end - 1] == 0x0a { end -= 1 }
        if end > body.startIndex, body[end - 1] == 0x0d { end -= 1 }
        return end
    }

    /// As far as whole groups of four go.
    private static func damagedBase64(_ body: ArraySlice<UInt8>) -> Data {
        let digits = body.filter { $0.isLetter || $0.isDigit || $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "/") }
        return Data(base64Encoded: Data(digits.prefix(digits.count / 4 * 4))) ?? Data()
    }

    /// `name=value`, also in RFC 2231's pieces: `name*0*=charset''text; name*1=text`.
    func parameter(_ name: String, of field: String) -> String? {
        guard let value = self.field(field) else { return nil }
        let parameters = Self.parameters(value)
        if let plain = parameters[name] { return EncodedWords.decode(plain) }
        var (charset, bytes, index) = ("utf-8", [UInt8](), 0)
        if let whole = parameters[name + "*"] { return Self.extended(whole, &charset).map { String(decoding: Charset.decode($0, from: charset)?.bytes ?? $0, as: UTF8.self) } }
        while true {
            if let piece = parameters["\(name)*\(index)*"] {
                bytes += (index == 0 ? Self.extended(piece, &charset) : Self.percentDecoded(piece)) ?? []
            } else if let piece = parameters["\(name)*\(index)"] { bytes += Array(piece.utf8) } else { break }
            index += 1
        }
        return index == 0 ? nil : String(decoding: Charset.decode(bytes, from: charset)?.bytes ?? bytes, as: UTF8.self)
    }

    private static func extended(_ value: String, _ charset: inout String) -> [UInt8]? {
        let parts = value.split(separator: "'", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3 else { return percentDecoded(value) }
        charset = String(parts[0])
        return percentDecoded(String(parts[2]))
    }

    private static func percentDecoded(_ value: String) -> [UInt8] { QuotedPrintable.decode(Array(value.utf8)[...], escape: UInt8(ascii: "%"), isHeader: false) }

    private static func parameters(_ value: String) -> [String: String] {
        var parameters: [String: String] = [:]
        var rest = Substring(value)
        while let semicolon = rest.firstIndex(of: ";") {
            rest = rest[rest.index(after: semicolon)...].drop { $0.isWhitespace }
            guard let equals = rest.firstIndex(of: "=") else { break }
            let key = rest[..<equals].trimmingCharacters(in: .whitespaces).lowercased()
            rest = rest[rest.index(after: equals)...].drop { $0.isWhitespace }
            var text = ""
            if rest.first == "\"" {
                rest = rest.dropFirst()
                while let character = rest.popFirst(), character != "\"" { text.append(character == "\\" ? rest.popFirst() ?? "\\" : character) }
            } else {
                text = rest.prefix { $0 != ";" }.trimmingCharacters(in: .whitespaces)
            }
            if parameters[key] == nil { parameters[key] = text }
        }
        return parameters
    }
}

enum QuotedPrintable {
    /// - Parameter isHeader: Whether `_` stands for a space, as in encoded words.
    static func decode(_ bytes: ArraySlice<UInt8>, escape: UInt8 = UInt8(ascii: "="), isHeader: Bool) -> [UInt8] {
        func value(_ offset: Int) -> UInt8? { offset < bytes.endIndex ? Character(Unicode.Scalar(bytes[offset])).hexDigitValue.map { UInt8($0) } : nil }
        var decoded: [UInt8] = []
        decoded.reserveCapacity(bytes.count)
        var offset = bytes.startIndex
        while offset < bytes.endIndex {
            let byte = bytes[offset]
            if byte == escape, let high = value(offset + 1), let low = value(offset + 2) {
                decoded.append(high << 4 | low)
                offset += 3
            } else if byte == escape, !isHeader, let end = bytes[(offset + 1)...].firstIndex(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0d }), bytes[end] == 0x0a {
                offset = end + 1  // a line that goes on
            } else {
                decoded.append(isHeader && byte == UInt8(ascii: "_") ? 0x20 : byte)
                offset += 1
            }
        }
        return decoded
    }
}

/// RFC 2047's `=?charset?B?…?=` in headers.
enum EncodedWords {
    static func decode(_ value: String) -> String {
        guard value.contains("=?") else { return value }
        var decoded = ""
        var rest = Substring(value)
        var pending: (charset: String, bytes: [UInt8])?
        func flush() {
            guard let word = pending else { return }
            decoded += String(decoding: Charset.decode(word.bytes, from: word.charset)?.bytes ?? word.bytes, as: UTF8.self)
            pending = nil
        }
        while let start = rest.firstRange(of: "=?") {
            let between = rest[..<start.lowerBound]
            guard let (charset, bytes, end) = word(rest[start.upperBound...]) else {
                flush()
                decoded += rest[..<start.upperBound]
                rest = rest[start.upperBound...]
                continue
            }
            // White space between two encoded words belongs to neither; characters may be cut between two of one charset.
            if pending == nil || !between.allSatisfy(\.isWhitespace) || pending!.charset != charset {
                let wasWord = pending != nil && between.allSatisfy(\.isWhitespace)
                flush()
                if !wasWord { decoded += between }
                pending = (charset, bytes)
            } else {
                pending!.bytes += bytes
            }
            rest = rest[end...]
        }
        flush()
        return decoded + rest
    }

    private static func word(_ text: Substring) -> (charset: String, bytes: [UInt8], end: Substring.Index)? {
        let parts = text.split(separator: "?", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, let end = parts[2].firstRange(of: "?=") else { return nil }
        let (content, charset) = (Array(parts[2][..<end.lowerBound].utf8), String(parts[0].prefix { $0 != "*" }).lowercased())
        switch parts[1] {
        case "B", "b": return Data(base64Encoded: Data(content), options: .ignoreUnknownCharacters).map { (charset, [UInt8]($0), end.upperBound) }
        case "Q", "q": return (charset, QuotedPrintable.decode(content[...], isHeader: true), end.upperBound)
        default: return nil
        }
    }
}
