import Model
import Storage

/// Reads the JSON objects that Covey itself wrote as payloads: fast, and able to skip the members that nobody asked for.
///
/// Foundation's decoder needs some 50 µs for a chunk's payload; a filter may have to look at each of 100,000.
@safe struct PayloadDecoder {
    private let bytes: UnsafeBufferPointer<UInt8>
    private let count: Int
    private var offset = 0

    /// - Parameter keys: Members of the outermost object to decode; `nil` for all.
    static func decode(_ bytes: [UInt8], only keys: Set<String>? = nil) throws(FormatError) -> Payload {
        try unsafe bytes.withUnsafeBufferPointer { buffer throws(FormatError) in try unsafe decode(buffer, only: keys) }
    }

    @unsafe static func decode(_ bytes: UnsafeBufferPointer<UInt8>, only keys: Set<String>? = nil) throws(FormatError) -> Payload {
        var decoder = unsafe PayloadDecoder(bytes: bytes)
        let payload = try decoder.object(only: keys, depth: 0)
        guard decoder.offset == decoder.count else { throw .malformed("payload has \(decoder.count - decoder.offset) bytes after its end") }
        return payload
    }

    private init(bytes: UnsafeBufferPointer<UInt8>) {
        unsafe self.bytes = bytes
        count = bytes.count
    }

    /// Deepest nesting read. Reason: recursion must not exhaust a worker's stack.
    private static let maximumDepth = 128

    private func peek() throws(FormatError) -> UInt8 {
        guard offset < count else { throw .malformed("payload ends too early") }
        return unsafe bytes[offset]
    }

    private mutating func skipSpace() {
        while offset < count, unsafe [0x20, 0x0a, 0x0d, 0x09].contains(bytes[offset]) { offset += 1 }
    }

    private mutating func expect(_ byte: UInt8) throws(FormatError) {
        guard try peek() == byte else { throw .malformed("payload has byte \(try peek()) at \(offset), expected \(byte)") }
        offset += 1
    }

    private mutating func object(only keys: Set<String>?, depth: Int) throws(FormatError) -> [String: JSONValue] {
        guard depth < Self.maximumDepth else { throw .malformed("payload is nested deeper than \(Self.maximumDepth)") }
        try expect(UInt8(ascii: "{"))
        var members: [String: JSONValue] = [:]
        skipSpace()
        if try peek() == UInt8(ascii: "}") {
            offset += 1
            return members
        }
        while true {
            skipSpace()
            let key = try string()
            skipSpace()
            try expect(UInt8(ascii: ":"))
            if keys?.contains(key) ?? true { members[key] = try value(depth: depth + 1) } else { try skipValue() }
            skipSpace()
            if try peek() == UInt8(ascii: "}") {
                offset += 1
                return members
            }
            try expect(UInt8(ascii: ","))
        }
    }

    private mutating func value(depth: Int) throws(FormatError) -> JSONValue {
        guard depth < Self.maximumDepth else { throw .malformed("payload is nested deeper than \(Self.maximumDepth)") }
        skipSpace()
        switch try peek() {
        case UInt8(ascii: "{"): return .object(try object(only: nil, depth: depth))
        case UInt8(ascii: "["):
            offset += 1
            var elements: [JSONValue] = []
            skipSpace()
            if try peek() == UInt8(ascii: "]") {
                offset += 1
                return .array(elements)
            }
            while true {
                elements.append(try value(depth: depth + 1))
                skipSpace()
                if try peek() == UInt8(ascii: "]") {
                    offset += 1
                    return .array(elements)
                }
                try expect(UInt8(ascii: ","))
            }
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        default: return try number()
        }
    }

    private mutating func literal(_ text: StaticString, _ value: JSONValue) throws(FormatError) -> JSONValue {
        for index in 0..<text.utf8CodeUnitCount { try expect(unsafe text.utf8Start[index]) }
        return value
    }

    private mutating func number() throws(FormatError) -> JSONValue {
        let start = offset
        while offset < count, unsafe "+-.0123456789eE".utf8.contains(bytes[offset]) { offset += 1 }
        let text = unsafe String(decoding: UnsafeBufferPointer(rebasing: bytes[start..<offset]), as: UTF8.self)
        if let value = Int64(text) { return .integer(value) }
        guard let value = Double(text) else { throw .malformed("payload has \"\(text.prefix(20))\" at \(start), expected a value") }
        return .number(value)
    }

    private mutating func string() throws(FormatError) -> String {
        try expect(UInt8(ascii: "\""))
        let start = offset
        while true {
            switch try peek() {
            case UInt8(ascii: "\""):
                defer { offset += 1 }
                return unsafe String(decoding: UnsafeBufferPointer(rebasing: bytes[start..<offset]), as: UTF8.self)
            case UInt8(ascii: "\\"): return try escapedString(from: start)
            default: offset += 1
            }
        }
    }

    private mutating func escapedString(from start: Int) throws(FormatError) -> String {
        var text = unsafe Array(UnsafeBufferPointer(rebasing: bytes[start..<offset]))
        while true {
            let byte = try peek()
            offset += 1
            if byte == UInt8(ascii: "\"") { return String(decoding: text, as: UTF8.self) }
            guard byte == UInt8(ascii: "\\") else {
                text.append(byte)
                continue
            }
            let kind = try peek()
            offset += 1
            switch kind {
            case UInt8(ascii: "n"): text.append(0x0a)
            case UInt8(ascii: "r"): text.append(0x0d)
            case UInt8(ascii: "t"): text.append(0x09)
            case UInt8(ascii: "b"): text.append(0x08)
            case UInt8(ascii: "f"): text.append(0x0c)
            case UInt8(ascii: "u"): text.append(contentsOf: String(Character(try unicodeScalar())).utf8)
            default: text.append(kind)
            }
        }
    }

    private mutating func unicodeScalar() throws(FormatError) -> Unicode.Scalar {
        let unit = try codeUnit()
        if (0xd800..<0xdc00).contains(unit) {
            try expect(UInt8(ascii: "\\"))
            try expect(UInt8(ascii: "u"))
            let low = try codeUnit()
            guard (0xdc00..<0xe000).contains(low) else { throw .malformed("payload has half a surrogate pair at \(offset)") }
            return Unicode.Scalar(0x10000 + (unit - 0xd800) << 10 + (low - 0xdc00))!
        }
        guard let scalar = Unicode.Scalar(unit) else { throw .malformed("payload has half a surrogate pair at \(offset)") }
        return scalar
    }

    private mutating func codeUnit() throws(FormatError) -> UInt32 {
        var unit: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = Character(Unicode.Scalar(try peek())).hexDigitValue else { throw .malformed("payload has a wrong escape at \(offset)") }
            unit = unit << 4 | UInt32(digit)
            offset += 1
        }
        return unit
    }

    /// Steps over a value without building it: brackets are counted, strings are looked at for their end only.
    private mutating func skipValue() throws(FormatError) {
        skipSpace()
        var depth = 0
        repeat {
            switch try peek() {
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                offset += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                offset += 1
            case UInt8(ascii: "\""):
                offset += 1
                while try peek() != UInt8(ascii: "\"") { offset += try peek() == UInt8(ascii: "\\") ? 2 : 1 }
                offset += 1
            case UInt8(ascii: ","), UInt8(ascii: ":"), 0x20: offset += 1
            default: while offset < count, unsafe !",}] ".utf8.contains(bytes[offset]) { offset += 1 }
            }
        } while depth > 0
    }
}
