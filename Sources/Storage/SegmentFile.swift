import Glibc
import Synchronization

/// An immutable file of named sections, mapped read-only.
///
/// | offset | size | field (little-endian) |
/// | --- | --- | --- |
/// | 0 | 8 | magic `COVEYSEG` |
/// | 8 | 4 | format version, 1 |
/// | 12 | 4 | number of sections, at most 63 |
/// | 16 | 8 | length of the file in bytes |
/// | 24 | 36 | zero |
/// | 60 | 4 | CRC-32C of the header's 4096 bytes with this field as zero |
/// | 64 + 64·i | 32 | name of section i, UTF-8, zeros after it |
/// | 96 + 64·i | 8 | offset of the section's first byte, a multiple of 64 |
/// | 104 + 64·i | 8 | length of the section in bytes |
/// | 112 + 64·i | 4 | CRC-32C of the section and the zeros up to the next multiple of 64 bytes |
/// | 116 + 64·i | 12 | zero |
/// | 4096 | | the sections, in the order of the table, without gaps beyond that padding |
///
/// The header is verified when the file is opened; a section when it is first asked for, once. A file with a damaged
/// section still gives its other sections. The file must not change while it is mapped. Any thread may use the object.
@safe package final class SegmentFile: Sendable {
    package struct Section: Hashable, Sendable {
        package var name: String
        package var offset: Int
        package var byteCount: Int
        package var checksum: UInt32
    }

    package static let formatVersion: UInt32 = 1
    package static let maximumSectionCount = 63
    package static let maximumNameByteCount = 32
    static let headerByteCount = 4_096
    private static let magic = Array("COVEYSEG".utf8)
    private static let checksumOffset = 60

    package let path: String
    package let sections: [Section]
    private nonisolated(unsafe) let mapping: UnsafeRawBufferPointer
    /// Names of the sections whose checksum was found right.
    private let verified = Mutex<Set<String>>([])

    /// The file's length.
    package var byteCount: Int { unsafe mapping.count }

    /// Maps the file and verifies its header.
    ///
    /// - Throws: ``SegmentError``; `system` if the file cannot be opened or mapped, another case if it is no whole segment.
    package convenience init(path: String) throws(SegmentError) { try self.init(path: path, sections: nil) }

    /// - Parameter sections: Of a file that has no header yet, by whoever has just written them: they need no verifying.
    init(path: String, sections known: [Section]?) throws(SegmentError) {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system(path: path, operation: "open", errno: errno) }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw .system(path: path, operation: "stat", errno: errno) }
        let count = Int(status.st_size)
        guard count >= Self.headerByteCount else {
            throw .wrongLength(path: path, expected: UInt64(Self.headerByteCount), found: UInt64(count))
        }
        guard let address = unsafe mmap(nil, count, PROT_READ, MAP_SHARED, descriptor, 0), unsafe address != MAP_FAILED else {
            throw .system(path: path, operation: "map", errno: errno)
        }
        let mapping = unsafe UnsafeRawBufferPointer(start: address, count: count)
        do throws(SegmentError) {
            if let known {
                sections = known
                verified.withLock { $0.formUnion(known.map(\.name)) }
            } else {
                sections = try unsafe Self.readHeader(UnsafeRawBufferPointer(rebasing: mapping[..<Self.headerByteCount]), byteCount: count, path: path)
            }
        } catch {
            unsafe munmap(address, count)
            throw error
        }
        self.path = path
        unsafe self.mapping = unsafe mapping
    }

    deinit {
        unsafe munmap(UnsafeMutableRawPointer(mutating: mapping.baseAddress!), mapping.count)
    }

    package func contains(_ name: String) -> Bool { sections.contains { $0.name == name } }

    /// The section's bytes, from an address that is a multiple of 64. They stay where they are as long as this object lives:
    /// whoever keeps the pointer keeps the object.
    ///
    /// - Complexity: O(1), but the first call for a section reads it once for its checksum.
    package func bytes(of name: String) throws(SegmentError) -> UnsafeRawBufferPointer {
        guard let section = sections.first(where: { $0.name == name }) else { throw .missingSection(path: path, section: name) }
        if !verified.withLock({ $0.contains(name) }) {
            let end = Self.padded(section.offset + section.byteCount)
            let found = unsafe crc32c(UnsafeRawBufferPointer(rebasing: mapping[section.offset..<end]))
            guard found == section.checksum else {
                throw .checksumMismatch(path: path, section: name, expected: section.checksum, found: found)
            }
            verified.withLock { _ = $0.insert(name) }
        }
        return unsafe UnsafeRawBufferPointer(rebasing: mapping[section.offset..<section.offset + section.byteCount])
    }

    /// The section as elements as they lie in memory.
    ///
    /// - Throws: also ``SegmentError/malformedSection(path:section:reason:)`` if the section does not hold exactly `count` of them.
    package func elements<Element: BitwiseCopyable>(
        of name: String, as type: Element.Type, count: Int? = nil
    ) throws(SegmentError) -> UnsafeBufferPointer<Element> {
        let bytes = try unsafe bytes(of: name)
        let stride = MemoryLayout<Element>.stride
        guard bytes.count % stride == 0, count == nil || count! * stride == bytes.count else {
            let expected = count.map { "\($0 * stride) bytes" } ?? "a multiple of \(stride) bytes"
            throw .malformedSection(path: path, section: name, reason: "expected \(expected), found \(bytes.count)")
        }
        return unsafe bytes.bindMemory(to: Element.self)
    }

    /// Verifies all sections now.
    package func verify() throws(SegmentError) {
        for section in sections { _ = try unsafe bytes(of: section.name) }
    }

    static func padded(_ count: Int) -> Int { (count + 63) & ~63 }

    static func header(sections: [Section], byteCount: Int) -> [UInt8] {
        var header = [UInt8](repeating: 0, count: headerByteCount)
        func store(_ value: some FixedWidthInteger, at offset: Int) {
            for index in 0..<value.bitWidth / 8 { header[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index)) }
        }
        header.replaceSubrange(0..<8, with: magic)
        store(formatVersion, at: 8)
        store(UInt32(sections.count), at: 12)
        store(UInt64(byteCount), at: 16)
        for (index, section) in sections.enumerated() {
            let entry = 64 + 64 * index
            header.replaceSubrange(entry..<entry + section.name.utf8.count, with: section.name.utf8)
            store(UInt64(section.offset), at: entry + 32)
            store(UInt64(section.byteCount), at: entry + 40)
            store(section.checksum, at: entry + 48)
        }
        store(crc32c(header), at: checksumOffset)
        return header
    }

    private static func readHeader(_ raw: UnsafeRawBufferPointer, byteCount: Int, path: String) throws(SegmentError) -> [Section] {
        var header = unsafe Array(raw)
        func load<Value: FixedWidthInteger>(_ type: Value.Type, at offset: Int) -> Value {
            (0..<Value.bitWidth / 8).reduce(0) { $0 | Value(header[offset + $1]) << (8 * $1) }
        }
        guard header.starts(with: magic) else { throw .notASegment(path: path) }
        guard load(UInt32.self, at: 8) == formatVersion else { throw .unsupportedVersion(path: path, version: load(UInt32.self, at: 8)) }
        let expected = load(UInt32.self, at: checksumOffset)
        header.replaceSubrange(checksumOffset..<checksumOffset + 4, with: [0, 0, 0, 0])
        let found = crc32c(header)
        guard found == expected else { throw .headerDamaged(path: path, reason: "expected checksum \(expected), found \(found)") }
        guard load(UInt64.self, at: 16) == UInt64(byteCount) else {
            throw .wrongLength(path: path, expected: load(UInt64.self, at: 16), found: UInt64(byteCount))
        }
        let count = Int(load(UInt32.self, at: 12))
        guard count <= maximumSectionCount else { throw .headerDamaged(path: path, reason: "\(count) sections") }
        var sections: [Section] = []
        var end = UInt64(headerByteCount)
        for index in 0..<count {
            let entry = 64 + 64 * index
            let name = String(decoding: header[entry..<entry + maximumNameByteCount].prefix { $0 != 0 }, as: UTF8.self)
            let offset = load(UInt64.self, at: entry + 32)
            let length = load(UInt64.self, at: entry + 40)
            guard offset == end, length <= UInt64(byteCount), offset + length <= UInt64(byteCount) else {
                throw .headerDamaged(path: path, reason: "section \"\(name)\" of \(length) bytes at offset \(offset)")
            }
            end = UInt64(padded(Int(offset + length)))
            sections.append(Section(name: name, offset: Int(offset), byteCount: Int(length), checksum: load(UInt32.self, at: entry + 48)))
        }
        guard end == UInt64(byteCount) else {
            throw .headerDamaged(path: path, reason: "the sections end at \(end), the file at \(byteCount)")
        }
        return sections
    }
}
