import CZlib
import Model

/// A ZIP archive in memory, as Office documents, EPUB and OpenDocument are.
///
/// What it would become is bounded before anything is inflated, by the sizes that its directory claims, and again while it is, because
/// they may lie. Nothing is written to disk, so names of entries lead nowhere.
struct ZipArchive {
    private struct Entry {
        var method: Int
        var isEncrypted: Bool
        var crc: UInt32
        var compressedBytes: Int
        var bytes: Int
        /// Where its local header begins.
        var header: Int
    }

    /// Most entries: a presentation of 1,000 slides with a picture each has some 5,000.
    private static let maximumEntries = 50_000
    /// How much smaller than its content an archive may be once that is more than ``ratioApplies`` bytes: sheets of one value reach 100.
    private static let maximumRatio = 250
    private static let ratioApplies = 16 << 20

    private let bytes: [UInt8]
    private var entries: [String: Entry] = [:]
    /// In the directory's order.
    private(set) var names: [String] = []

    /// - Parameter maximumBytes: Most bytes of all entries together.
    /// - Throws: `invalidArgument` for what is no whole archive; `resourceExhausted` past a limit, which is named.
    init(_ bytes: [UInt8], maximumBytes: Int) throws(ClusterError) {
        self.bytes = bytes
        guard let end = Self.endOfDirectory(bytes) else { throw Self.damaged("its directory is missing; the file is cut off or no archive") }
        let count = bytes.little16(end + 10)
        var position = bytes.little32(end + 16)
        guard count < 0xffff, position < 0xffff_ffff else { throw ClusterError(.invalidArgument, "ZIP64 archives are not supported") }
        guard count <= Self.maximumEntries else { throw ClusterError(.resourceExhausted, "the archive has \(count) entries, the limit is \(Self.maximumEntries)") }
        var total = 0
        for _ in 0..<count {
            guard position + 46 <= bytes.count, bytes.little32(position) == 0x0201_4b50 else { throw Self.damaged("its directory breaks off") }
            let (nameLength, extra, comment) = (bytes.little16(position + 28), bytes.little16(position + 30), bytes.little16(position + 32))
            let next = position + 46 + nameLength + extra + comment
            guard next <= bytes.count else { throw Self.damaged("its directory breaks off") }
            let entry = Entry(
                method: bytes.little16(position + 10), isEncrypted: bytes.little16(position + 8) & 1 != 0, crc: UInt32(bytes.little32(position + 16)),
                compressedBytes: bytes.little32(position + 20), bytes: bytes.little32(position + 24), header: bytes.little32(position + 42))
            total += entry.bytes
            let name = String(decoding: bytes[(position + 46)..<(position + 46 + nameLength)], as: UTF8.self)
            if entries.updateValue(entry, forKey: name) == nil { names.append(name) }
            position = next
        }
        guard total <= maximumBytes else {
            throw ClusterError(.resourceExhausted, "the archive would become \(total) bytes, the limit of maximumExpandedBytes is \(maximumBytes)")
        }
        guard total <= Self.ratioApplies || total / max(1, bytes.count) <= Self.maximumRatio else {
            throw ClusterError(
                .resourceExhausted, "the archive of \(bytes.count) bytes would become \(total), more than \(Self.maximumRatio) times as many: it looks like a bomb")
        }
    }

    func has(_ name: String) -> Bool { entries[name] != nil }

    /// The first name that needs a password; `nil` if there is none.
    var encryptedName: String? { names.first { entries[$0]?.isEncrypted == true } }

    /// An entry's content, checked against its CRC-32. O(content).
    ///
    /// - Throws: `invalidArgument` for an entry that is missing, encrypted, damaged or compressed in an unusual way.
    func content(of name: String) throws(ClusterError) -> [UInt8] {
        guard let entry = entries[name] else { throw ClusterError(.invalidArgument, "\(name) is missing in the archive") }
        guard !entry.isEncrypted else { throw ClusterError(.invalidArgument, "the archive is encrypted with a password") }
        guard entry.header + 30 <= bytes.count, bytes.little32(entry.header) == 0x0403_4b50 else { throw Self.damaged("\(name) is not where it should be") }
        let start = entry.header + 30 + bytes.little16(entry.header + 26) + bytes.little16(entry.header + 28)
        guard start + entry.compressedBytes <= bytes.count else { throw Self.damaged("\(name) breaks off") }
        let content: [UInt8]
        switch entry.method {
        case 0: content = Array(bytes[start..<(start + entry.compressedBytes)])
        case 8: content = try inflated(start..<(start + entry.compressedBytes), entry, name)
        default: throw ClusterError(.invalidArgument, "\(name) in the archive is compressed by method \(entry.method), 0 and 8 are supported")
        }
        let crc = unsafe content.withUnsafeBufferPointer { unsafe UInt32(crc32_z(0, $0.baseAddress, $0.count)) }
        guard crc == entry.crc else { throw Self.damaged("\(name) does not have its checksum") }
        return content
    }

    private func inflated(_ range: Range<Int>, _ entry: Entry, _ name: String) throws(ClusterError) -> [UInt8] {
        var count = 0
        let content = unsafe [UInt8](unsafeUninitializedCapacity: entry.bytes + 1) { output, length in
            count = unsafe bytes.withUnsafeBufferPointer { input in
                unsafe Int(zip_inflate(input.baseAddress! + range.lowerBound, range.count, output.baseAddress!, entry.bytes + 1))
            }
            length = max(0, min(count, entry.bytes + 1))
        }
        guard count >= 0 else { throw Self.damaged("\(name) \(count == -2 ? "is larger than its directory says" : "cannot be inflated")") }
        return content
    }

    private static func damaged(_ what: String) -> ClusterError { ClusterError(.invalidArgument, "damaged ZIP archive: \(what)") }

    /// The record stands at the end, before a comment of at most 64 KiB.
    private static func endOfDirectory(_ bytes: [UInt8]) -> Int? {
        guard bytes.count >= 22 else { return nil }
        let first = max(0, bytes.count - 22 - 0xffff)
        return (first...(bytes.count - 22)).reversed().first { bytes[$0] == 0x50 && bytes.little32($0) == 0x0605_4b50 }
    }
}

extension [UInt8] {
    func little16(_ offset: Int) -> Int { Int(self[offset]) | Int(self[offset + 1]) << 8 }
    func little32(_ offset: Int) -> Int { little16(offset) | little16(offset + 2) << 16 }
}
