import CJSONKernels

/// Reads JSON texts (RFC 8259) of strangers: bounded in depth, exact about where a text goes wrong.
///
/// One pass over the bytes; an array of numbers becomes floats on the way (ADR 0026).
package enum JSONReader {
    /// Deepest nesting accepted. Filters of real clients nest 3–5 deep; the bound keeps a request of brackets from exhausting the stack.
    package static let maximumDepth = 64

    /// - Throws: `invalidArgument` with the byte offset, line and column of the first error. A key that occurs twice in one object is an error.
    package static func read(_ bytes: [UInt8]) throws(ClusterError) -> JSONInput {
        let result: Result<JSONInput, ClusterError> = unsafe bytes.withUnsafeBufferPointer { pointer in
            var parser = unsafe Parser(source: bytes, bytes: pointer)
            do throws(ClusterError) {
                return .success(try unsafe parser.document())
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    @unsafe private struct Parser {
        /// The same bytes twice: slices of `source` outlive the parse, `bytes` is read without bounds checks in loops.
        let source: [UInt8]
        let bytes: UnsafeBufferPointer<UInt8>
        var position = 0
        /// Of the last array of numbers: vectors of one body mostly have one dimension.
        var lastCount = 0

        init(source: [UInt8], bytes: UnsafeBufferPointer<UInt8>) {
            unsafe self.source = source
            unsafe self.bytes = unsafe bytes
        }

        mutating func document() throws(ClusterError) -> JSONInput {
            unsafe skipSpace()
            let value = try unsafe value(depth: 0)
            unsafe skipSpace()
            if unsafe position < bytes.count { throw unsafe failure("expected the end of the text") }
            return value
        }

        private mutating func value(depth: Int) throws(ClusterError) -> JSONInput {
            guard unsafe position < bytes.count else { throw unsafe failure("expected a value") }
            switch unsafe bytes[position] {
            case UInt8(ascii: "{"): return try unsafe object(depth: depth + 1)
            case UInt8(ascii: "["): return try unsafe array(depth: depth + 1)
            case UInt8(ascii: "\""): return .string(try unsafe string())
            case UInt8(ascii: "t"): return try unsafe literal("true", .bool(true))
            case UInt8(ascii: "f"): return try unsafe literal("false", .bool(false))
            case UInt8(ascii: "n"): return try unsafe literal("null", .null)
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                let start = unsafe position
                guard let scan = unsafe NumberText.scan(bytes, from: &position) else { throw unsafe failure("not a number") }
                return unsafe NumberText.value(scan, text: source[start..<position])
            default: throw unsafe failure("expected a value")
            }
        }

        private mutating func object(depth: Int) throws(ClusterError) -> JSONInput {
            try unsafe checkDepth(depth)
            unsafe position += 1
            var members: [JSONInput.Member] = []
            var seen: Set<String> = []
            unsafe skipSpace()
            if unsafe accept("}") { return .object([]) }
            while true {
                unsafe skipSpace()
                guard unsafe peek() == UInt8(ascii: "\"") else { throw unsafe failure("expected a key in quotes") }
                let start = unsafe position
                let key = try unsafe string()
                guard seen.insert(key).inserted else {
                    unsafe position = start
                    throw unsafe failure("key \"\(key)\" occurs twice")
                }
                unsafe skipSpace()
                guard unsafe accept(":") else { throw unsafe failure("expected \":\"") }
                unsafe skipSpace()
                members.append(JSONInput.Member(key: key, value: try unsafe value(depth: depth)))
                unsafe skipSpace()
                if unsafe accept("}") { return .object(members) }
                guard unsafe accept(",") else { throw unsafe failure("expected \",\" or \"}\"") }
            }
        }

        private mutating func array(depth: Int) throws(ClusterError) -> JSONInput {
            try unsafe checkDepth(depth)
            unsafe position += 1
            unsafe skipSpace()
            if unsafe accept("]") { return .array([]) }
            if let numbers = unsafe numbers() { return numbers }
            var elements: [JSONInput] = []
            while true {
                unsafe skipSpace()
                elements.append(try unsafe value(depth: depth))
                unsafe skipSpace()
                if unsafe accept("]") { return .array(elements) }
                guard unsafe accept(",") else { throw unsafe failure("expected \",\" or \"]\"") }
            }
        }

        /// An array of nothing but numbers, from behind its bracket; `nil`, with the position untouched, if it is another.
        private mutating func numbers() -> JSONInput? {
            guard let byte = unsafe peek(), byte == UInt8(ascii: "-") || byte.isDigit else { return nil }
            var floats: [Float] = []
            var end = unsafe position
            while true {
                var outcome = JK_OTHER
                let capacity = unsafe max(16, floats.isEmpty ? lastCount : floats.count)
                let more = unsafe [Float](unsafeUninitializedCapacity: capacity) { output, count in
                    outcome = unsafe jk_floats(bytes.baseAddress!, bytes.count, &end, output.baseAddress!, capacity, &count)
                }
                if floats.isEmpty { floats = more } else { floats += more }
                switch outcome {
                case JK_FULL: continue
                case JK_END:
                    let text = unsafe source[position..<(end - 1)]
                    unsafe position = end
                    unsafe lastCount = floats.count
                    return .numbers(text, floats)
                default: return nil
                }
            }
        }

        private mutating func literal(_ text: StaticString, _ value: JSONInput) throws(ClusterError) -> JSONInput {
            let length = text.utf8CodeUnitCount
            guard unsafe position + length <= bytes.count, (0..<length).allSatisfy({ unsafe bytes[position + $0] == text.utf8Start[$0] }) else {
                throw unsafe failure("expected a value")
            }
            unsafe position += length
            return value
        }

        private mutating func string() throws(ClusterError) -> String {
            unsafe position += 1
            let start = unsafe position
            while unsafe position < bytes.count {
                let byte = unsafe bytes[position]
                if byte == UInt8(ascii: "\"") {
                    let text = try unsafe decode(start..<position)
                    unsafe position += 1
                    return text
                }
                if byte == UInt8(ascii: "\\") { return try unsafe escapedString(from: start) }
                if byte < 0x20 { throw unsafe failure("control character in a string") }
                unsafe position += 1
            }
            throw unsafe failure("expected the string's end")
        }

        private mutating func escapedString(from start: Int) throws(ClusterError) -> String {
            var text = try unsafe decode(start..<position)
            while unsafe position < bytes.count {
                let byte = unsafe bytes[position]
                if byte == UInt8(ascii: "\"") {
                    unsafe position += 1
                    return text
                }
                if byte < 0x20 { throw unsafe failure("control character in a string") }
                if byte == UInt8(ascii: "\\") {
                    unsafe position += 1
                    text.unicodeScalars.append(try unsafe escape())
                } else {
                    let runStart = unsafe position
                    while let next = unsafe peek(), next != UInt8(ascii: "\""), next != UInt8(ascii: "\\"), next >= 0x20 { unsafe position += 1 }
                    text += try unsafe decode(runStart..<position)
                }
            }
            throw unsafe failure("expected the string's end")
        }

        private mutating func escape() throws(ClusterError) -> Unicode.Scalar {
            guard let byte = unsafe peek() else { throw unsafe failure("expected the string's end") }
            unsafe position += 1
            switch byte {
            case UInt8(ascii: "\""): return "\""
            case UInt8(ascii: "\\"): return "\\"
            case UInt8(ascii: "/"): return "/"
            case UInt8(ascii: "b"): return "\u{8}"
            case UInt8(ascii: "f"): return "\u{c}"
            case UInt8(ascii: "n"): return "\n"
            case UInt8(ascii: "r"): return "\r"
            case UInt8(ascii: "t"): return "\t"
            case UInt8(ascii: "u"):
                let unit = try unsafe hexUnit()
                guard (0xd800..<0xdc00).contains(unit) else {
                    guard let scalar = Unicode.Scalar(unit) else { throw unsafe failure("low surrogate without a high one") }
                    return scalar
                }
                guard unsafe accept("\\"), unsafe accept("u") else { throw unsafe failure("high surrogate without a low one") }
                let low = try unsafe hexUnit()
                guard (0xdc00..<0xe000).contains(low), let scalar = Unicode.Scalar(0x10000 + (unit - 0xd800) << 10 + (low - 0xdc00)) else {
                    throw unsafe failure("high surrogate without a low one")
                }
                return scalar
            default:
                unsafe position -= 1
                throw unsafe failure("unknown escape")
            }
        }

        private mutating func hexUnit() throws(ClusterError) -> UInt32 {
            var unit: UInt32 = 0
            for _ in 0..<4 {
                guard let byte = unsafe peek(), let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 128 else {
                    throw unsafe failure("expected four hexadecimal digits")
                }
                unit = unit << 4 | UInt32(digit)
                unsafe position += 1
            }
            return unit
        }

        private func decode(_ range: Range<Int>) throws(ClusterError) -> String {
            guard let text = unsafe String(validating: UnsafeBufferPointer(rebasing: bytes[range]), as: UTF8.self) else {
                throw unsafe failure("string is not UTF-8", at: range.lowerBound)
            }
            return text
        }

        private mutating func skipSpace() {
            while let byte = unsafe peek(), byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { unsafe position += 1 }
        }

        private func peek() -> UInt8? { unsafe position < bytes.count ? bytes[position] : nil }

        private mutating func accept(_ scalar: Unicode.Scalar) -> Bool {
            guard unsafe peek() == UInt8(ascii: scalar) else { return false }
            unsafe position += 1
            return true
        }

        private func checkDepth(_ depth: Int) throws(ClusterError) {
            guard depth <= JSONReader.maximumDepth else { throw unsafe failure("nested deeper than \(JSONReader.maximumDepth)") }
        }

        private func failure(_ what: String, at offset: Int? = nil) -> ClusterError {
            let offset = unsafe offset ?? position
            let what = unsafe offset >= source.count ? "unexpected end of the text" : what
            let before = unsafe source[..<min(offset, source.count)]
            let line = before.count { $0 == 0x0a } + 1
            let column = offset - (before.lastIndex(of: 0x0a) ?? -1)
            return ClusterError(.invalidArgument, "not valid JSON at byte \(offset) (line \(line), column \(column)): \(what)")
        }
    }
}

extension UInt8 {
    fileprivate var isDigit: Bool { (0x30...0x39).contains(self) }
}
