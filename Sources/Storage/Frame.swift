/// The outside of every small object that Covey stores: what it is, who can read it, and whether it is whole.
///
/// | offset | size | field (little-endian) |
/// | --- | --- | --- |
/// | 0 | 4 | magic: the kind of object |
/// | 4 | 2 | version: the format it was written in |
/// | 6 | 2 | min_reader: the lowest format number whose reader understands it |
/// | 8 | 4 | n: bytes of the body |
/// | 12 | n | body |
/// | 12 + n | 4 | CRC-32C of bytes 0 ..< 12 + n |
package struct Frame: Sendable {
    package let kind: String
    package let magic: UInt32
    /// The format that this release writes, and the highest it reads.
    package let version: UInt16
    /// The lowest format that this release reads.
    private let oldest: UInt16

    package init(kind: String, magic: UInt32, version: UInt16, oldest: UInt16 = 1) {
        self.kind = kind
        self.magic = magic
        self.version = version
        self.oldest = oldest
    }

    /// Bytes around the body.
    package static let overhead = 16

    package func wrap(_ body: [UInt8], minimumReader: UInt16? = nil) -> [UInt8] {
        var writer = ByteWriter(capacity: body.count + Self.overhead)
        writer.append(magic)
        writer.append(version)
        writer.append(minimumReader ?? version)
        writer.append(UInt32(body.count))
        writer.append(bytes: body)
        writer.append(crc32c(writer.bytes))
        return writer.bytes
    }

    /// The checksum that the object carries, right or not; 0 if it is too short to have one.
    package func checksum(of object: [UInt8]) -> UInt32 {
        var trailer = ByteReader(object, from: max(0, object.count - 4))
        return (try? trailer.read()) ?? 0
    }

    /// A reader of the body of `object`, whose checksum is right.
    package func open(_ object: [UInt8]) throws(FormatError) -> ByteReader {
        var reader = ByteReader(object)
        let foundMagic: UInt32 = try reader.read()
        guard foundMagic == magic else { throw .wrongMagic(found: foundMagic) }
        let written: UInt16 = try reader.read()
        let minimumReader: UInt16 = try reader.read()
        let count = Int(try reader.read(UInt32.self))
        guard reader.remaining >= count + 4 else { throw .truncated(missing: count + 4 - reader.remaining) }
        guard reader.remaining == count + 4 else { throw .malformed("\(reader.remaining - count - 4) bytes follow the end") }
        var trailer = ByteReader(object, from: 12 + count)
        let expected: UInt32 = try trailer.read()
        let found = unsafe object.withUnsafeBytes { unsafe crc32c(UnsafeRawBufferPointer(rebasing: $0[..<(12 + count)])) }
        guard found == expected else { throw .checksumMismatch(expected: expected, found: found) }
        // After the checksum: a flipped bit is damage, not a newer release.
        guard minimumReader <= version else { throw .needsNewerReader(kind: kind, needs: minimumReader, has: version) }
        guard written >= oldest else { throw .malformed("a \(kind) of format \(written), this release reads \(oldest) and later") }
        return ByteReader(object, from: 12, to: 12 + count)
    }
}
