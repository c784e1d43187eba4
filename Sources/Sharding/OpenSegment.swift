import Model
import Storage
import VectorIndex
import VectorMath

/// A segment that serves: its mapped file as rows and as an index over their vectors.
final class OpenSegment: Sendable {
    let rows: SegmentRows
    let index: SegmentIndex
    /// Keeps the file in the store's cache.
    private let local: LocalFile

    /// Maps the file and reads it once for its checksums.
    ///
    /// - Throws: words that say what is wrong with the file.
    init(file local: LocalFile, record: SegmentRecord, schema: CollectionSchema) throws(SegmentDamage) {
        self.local = local
        let path = local.path
        do throws(SegmentError) {
            let file = try SegmentFile(path: path)
            guard file.byteCount == record.byteCount else { throw .wrongLength(path: path, expected: UInt64(record.byteCount), found: UInt64(file.byteCount)) }
            // The manifest names the file's header, which names every section's checksum: another segment's file is noticed.
            let header = try Self.headerChecksum(file)
            guard header == record.checksum else { throw .checksumMismatch(path: path, section: "header", expected: record.checksum, found: header) }
            try file.verify()
            index = try SegmentIndex(file)
            rows = try SegmentRows(file: file, index: index)
            guard rows.count == record.rowCount, index.count == record.rowCount else {
                throw .malformedSection(path: path, section: "points", reason: "expected \(record.rowCount) rows, found \(rows.count) and \(index.count)")
            }
            guard index.dimension == schema.dimension, index.metric == schema.metric, index.datatype == schema.datatype else {
                throw .malformedSection(path: path, section: "index", reason: "\(index.metric) of \(index.dimension) dimensions as \(index.datatype)")
            }
        } catch {
            if case .system(_, _, let errno) = error { throw SegmentDamage(description: error.description, errno: errno) }
            throw SegmentDamage(description: error.description)
        }
    }

    /// Bytes of codes, coarse lists and what finds ids: what searches touch at random.
    var memoryByteCount: Int { index.memoryByteCount + rows.memoryByteCount }

    /// CRC-32C of what identifies a file: the names, lengths and checksums of its sections.
    static func headerChecksum(_ file: SegmentFile) throws(SegmentError) -> UInt32 {
        var writer = ByteWriter()
        for section in file.sections {
            writer.append(short: section.name)
            writer.append(UInt64(section.byteCount))
            writer.append(section.checksum)
        }
        return crc32c(writer.bytes)
    }
}

struct SegmentDamage: Error {
    let description: String
    /// Why the file could not be read at all, which says nothing about its bytes.
    var errno: Int32?
}
