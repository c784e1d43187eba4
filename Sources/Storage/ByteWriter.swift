import Model

/// Builds a file or object of little-endian fields.
package struct ByteWriter {
    package private(set) var bytes: [UInt8] = []

    package init(capacity: Int = 0) { bytes.reserveCapacity(capacity) }

    package mutating func append(_ value: some FixedWidthInteger) {
        unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
    }
    package mutating func append(bytes more: some Sequence<UInt8>) { bytes.append(contentsOf: more) }
    /// The elements' bits.
    package mutating func append(floats: [Float]) {
        unsafe floats.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
    }
    /// The length in one byte, then the text in UTF-8, cut at 255 bytes.
    package mutating func append(short text: String) {
        let utf8 = text.utf8.prefix(255)
        append(UInt8(utf8.count))
        bytes.append(contentsOf: utf8)
    }
    /// Seven bits a byte, lowest first, the eighth says that more follow.
    package mutating func append(variableLength value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
    /// 0 and eight bytes for an integer, 1 and sixteen for a UUID.
    package mutating func append(id: PointID) {
        switch id {
        case .integer(let value):
            append(UInt8(0))
            append(value)
        case .uuid(let high, let low):
            append(UInt8(1))
            append(high)
            append(low)
        }
    }
}

/// Reads what ``ByteWriter`` wrote. Every read checks that the bytes are there.
package struct ByteReader {
    private let bytes: [UInt8]
    private var offset: Int
    private let end: Int

    package init(_ bytes: [UInt8], from offset: Int = 0, to end: Int? = nil) {
        self.bytes = bytes
        self.offset = offset
        self.end = end ?? bytes.count
    }

    package var remaining: Int { end - offset }

    package mutating func read<Value: FixedWidthInteger>(_ type: Value.Type = Value.self) throws(FormatError) -> Value {
        let size = MemoryLayout<Value>.size
        try require(size)
        defer { offset += size }
        return unsafe bytes.withUnsafeBytes { unsafe Value(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Value.self)) }
    }

    package mutating func read(count: Int) throws(FormatError) -> [UInt8] {
        try require(count)
        defer { offset += count }
        return Array(bytes[offset..<offset + count])
    }

    package mutating func readFloats(count: Int) throws(FormatError) -> [Float] {
        try require(count * 4)
        defer { offset += count * 4 }
        return unsafe [Float](unsafeUninitializedCapacity: count) { buffer, initializedCount in
            unsafe bytes.withUnsafeBytes {
                unsafe UnsafeMutableRawBufferPointer(buffer).copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[offset..<offset + count * 4]))
            }
            initializedCount = count
        }
    }

    package mutating func readShort() throws(FormatError) -> String {
        let count: UInt8 = try read()
        return String(decoding: try read(count: Int(count)), as: UTF8.self)
    }

    package mutating func readVariableLength() throws(FormatError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let byte: UInt8 = try read()
            guard shift < 63 || byte <= 1 else { throw .malformed("a number has more than 64 bits") }
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
    }

    package mutating func readID() throws(FormatError) -> PointID {
        switch try read(UInt8.self) {
        case 0: return .integer(try read())
        case 1: return .uuid(high: try read(), low: try read())
        case let tag: throw .malformed("point id of kind \(tag)")
        }
    }

    /// A number of things that need at least `size` bytes each: a wrong one never makes the reader reserve memory for it.
    package mutating func readCount(of size: Int) throws(FormatError) -> Int {
        let count = Int(try read(UInt32.self))
        guard count * size <= remaining else { throw .truncated(missing: count * size - remaining) }
        return count
    }

    private func require(_ count: Int) throws(FormatError) {
        guard count <= remaining else { throw .truncated(missing: count - remaining) }
    }
}

/// Why bytes from the store cannot be read.
package enum FormatError: Error, Hashable, Sendable, CustomStringConvertible {
    case wrongMagic(found: UInt32)
    /// Written by a newer release, in a form that this one must not guess at.
    case needsNewerReader(kind: String, needs: UInt16, has: UInt16)
    case checksumMismatch(expected: UInt32, found: UInt32)
    case truncated(missing: Int)
    case malformed(String)

    package var description: String {
        switch self {
        case .wrongMagic(let found): "begins with \(String(found, radix: 16)), which is not its kind"
        case .needsNewerReader(let kind, let needs, let has): "\(kind) needs a reader of format \(needs), this release reads up to \(has)"
        case .checksumMismatch(let expected, let found):
            "checksum is \(String(found, radix: 16)), expected \(String(expected, radix: 16))"
        case .truncated(let missing): "ends \(missing) bytes too early"
        case .malformed(let reason): reason
        }
    }
}

extension ClusterError {
    /// - Parameter key: The object that cannot be read.
    package init(_ error: FormatError, in key: String) {
        if case .needsNewerReader = error { self.init(.failedPrecondition, "\(key): \(error)") } else { self.init(.dataLoss, "\(key): \(error)") }
    }
}
