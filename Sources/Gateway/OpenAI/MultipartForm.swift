import Foundation

/// The parts of a `multipart/form-data` body (RFC 7578).
package struct MultipartForm {
    package struct Part {
        package var name: String
        package var filename: String?
        package var contentType: String?
        package var bytes: ArraySlice<UInt8>
    }

    package private(set) var parts: [Part] = []
    /// Most parts accepted: an upload has two to four.
    static let maximumParts = 32

    /// - Throws: 400 that says which part of the form is not as RFC 7578 wants it; 415 if `contentType` is no form.
    package init(_ body: [UInt8], contentType: String) throws {
        let boundary = try Self.boundary(in: contentType)
        let delimiter = Array("\r\n--\(boundary)".utf8)
        // The first delimiter need not follow a line break.
        var position = 0
        if body.starts(with: delimiter.dropFirst(2)) {
            position = delimiter.count - 2
        } else if let first = Self.find(delimiter, in: body, from: 0) {
            position = first + delimiter.count
        } else {
            throw RequestError.invalid(nil, "the form has no part: its boundary does not occur")
        }
        while !body[position...].starts(with: Array("--".utf8)) {
            guard body[position...].starts(with: Self.lineBreak) else { throw RequestError.invalid(nil, "the form's boundary is not followed by a line break") }
            guard let end = Self.find(delimiter, in: body, from: position) else { throw RequestError.invalid(nil, "the form ends within a part") }
            guard parts.count < Self.maximumParts else { throw RequestError.invalid(nil, "the form has more than \(Self.maximumParts) parts") }
            parts.append(try Self.part(body[position..<end]))
            position = end + delimiter.count
        }
    }

    private static let lineBreak: [UInt8] = [0x0d, 0x0a]

    private static func boundary(in contentType: String) throws -> String {
        guard contentType.lowercased().hasPrefix("multipart/form-data") else {
            throw RequestError(.unsupportedMediaType, code: "unsupported_media_type", "content-type must be multipart/form-data, found \"\(contentType)\"")
        }
        guard let boundary = parameter("boundary", of: contentType), (1...70).contains(boundary.utf8.count) else {
            throw RequestError.invalid(nil, "content-type multipart/form-data needs a boundary of 1…70 characters")
        }
        return boundary
    }

    /// `section` begins with the line break behind the delimiter: headers, an empty line, content.
    private static func part(_ section: ArraySlice<UInt8>) throws -> Part {
        let bytes = Array(section)
        guard let blank = find(lineBreak + lineBreak, in: bytes, from: 0) else { throw RequestError.invalid(nil, "a part of the form has no empty line behind its headers") }
        var part = Part(name: "", bytes: section.dropFirst(blank + 4))
        for line in String(decoding: bytes[..<blank], as: UTF8.self).split(separator: "\r\n") {
            guard let colon = line.firstIndex(of: ":") else { throw RequestError.invalid(nil, "a part of the form has a header without a colon") }
            let value = line[line.index(after: colon)...].trimmingSpaces
            switch line[..<colon].lowercased() {
            case "content-disposition":
                part.name = parameter("name", of: value) ?? ""
                part.filename = parameter("filename", of: value)
            case "content-type": part.contentType = value
            default: break
            }
        }
        guard !part.name.isEmpty else { throw RequestError.invalid(nil, "a part of the form has no name") }
        return part
    }

    /// The value of `name=value` or `name="value"` behind a semicolon.
    private static func parameter(_ name: String, of header: String) -> String? {
        var rest = Substring(header)
        while let semicolon = rest.firstIndex(of: ";") {
            rest = rest[rest.index(after: semicolon)...].drop { $0 == " " || $0 == "\t" }
            guard let equals = rest.firstIndex(of: "=") else { return nil }
            let key = rest[..<equals].lowercased()
            rest = rest[rest.index(after: equals)...]
            var value = ""
            if rest.first == "\"" {
                rest = rest.dropFirst()
                while let character = rest.popFirst(), character != "\"" {
                    // Browsers escape quotes as %22, others with a backslash; a backslash before anything else is itself.
                    if character == "\\", rest.first == "\"" || rest.first == "\\" { value.append(rest.removeFirst()) } else { value.append(character) }
                }
            } else {
                value = rest.prefix { $0 != ";" }.trimmingSpaces
            }
            if key == name { return value.replacing("%22", with: "\"") }
        }
        return nil
    }

    private static func find(_ needle: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
        unsafe bytes.withUnsafeBytes { haystack in
            var position = start
            while position + needle.count <= haystack.count {
                // Line breaks are rare in most files, so looking for the first byte skips nearly everything.
                let candidates = haystack.count - needle.count + 1 - position
                guard let found = unsafe memchr(haystack.baseAddress! + position, CInt(needle[0]), candidates) else { return nil }
                position = unsafe UnsafeRawPointer(found) - haystack.baseAddress!
                if unsafe memcmp(found, needle, needle.count) == 0 { return position }
                position += 1
            }
            return nil
        }
    }
}
