import Model
import Storage
import VectorIndex
import VectorMath

/// Builds one segment file from the live rows of some parts.
struct SegmentMaker {
    let schema: CollectionSchema
    /// See ``IndexBuilder``; the bytes do not depend on it.
    let threads: Int

    /// The vectors' part of the work; payloads are the rest.
    private static let indexShare = 0.9

    /// Writes the file; it has at least one row.
    ///
    /// Equal rows give equal bytes: they are ordered by id before the index sees them.
    ///
    /// - Parameter progress: Gets the share that is done, 0…1; returns false to stop, which removes the file.
    /// - Returns: The file's length and ``OpenSegment/headerChecksum(_:)``.
    /// - Complexity: That of ``IndexBuilder``; vectors stay where they are. Memory besides: that of the index, and some 100 bytes a row.
    func write(
        _ parts: [Part], to path: String, progress: @escaping (Double) -> Bool
    ) throws(SegmentError) -> (byteCount: Int, checksum: UInt32) {
        guard progress(0) else { throw .stopped(path: path) }
        var rows: [(id: PointID, rows: any Rows, row: Int)] = []
        rows.reserveCapacity(parts.reduce(0) { $0 + $1.liveCount })
        for part in parts {
            part.live.visit {
                rows.append((part.rows.id($0), part.rows, $0))
                return true
            }
        }
        rows.sort { $0.id < $1.id }
        precondition(!rows.isEmpty, "a segment without rows")

        for part in parts { part.rows.fetchVectors() }
        let writer = try SegmentWriter(path: path)
        let sources = rows
        let vectors = VectorSource(count: rows.count) { sources[$0].rows.copyVector(sources[$0].row, to: &$1) }
        let order = try IndexBuilder(dimension: schema.dimension, metric: schema.metric, datatype: schema.datatype)
            .build(vectors, into: writer, threads: threads) { progress($0 * Self.indexShare) }.map(Int.init)
        try writePoints(rows, order: order, into: writer, progress: progress)
        let byteCount = try writer.finish()
        return (byteCount, try OpenSegment.headerChecksum(SegmentFile(path: path)))
    }

    /// The sections of ``SegmentRows``.
    ///
    /// - Parameters:
    ///   - rows: Ascending by id: by rank.
    ///   - order: Rank of each row.
    private func writePoints(
        _ rows: [(id: PointID, rows: any Rows, row: Int)], order: [Int], into writer: SegmentWriter, progress: (Double) -> Bool
    ) throws(SegmentError) {
        var ids: [UInt64] = []
        var integerCount = 0
        for (id, _, _) in rows {
            switch id {
            case .integer(let value):
                ids.append(value)
                integerCount += 1
            case .uuid(let high, let low): ids += [high, low]
            }
        }
        try writer.addSection("points", elements: [UInt64(integerCount), UInt64(rows.count - integerCount)])
        try writer.addSection("ids", elements: ids)
        var rowOfRank = [UInt32](repeating: 0, count: rows.count)
        for (row, rank) in order.enumerated() { rowOfRank[rank] = UInt32(row) }
        try writer.addSection("rows", elements: rowOfRank)
        try writer.addSection("ranks", elements: order.map(UInt32.init))
        try writer.addSection("versions", elements: order.map { rows[$0].rows.version(rows[$0].row) })
        try writer.addSection("content", elements: order.map { rows[$0].rows.contentHash(rows[$0].row) })
        var ends: [UInt64] = []
        var end: UInt64 = 0
        var index: PayloadIndexBuilder? = PayloadIndexBuilder()
        try writer.beginSection("payloads")
        for (row, rank) in order.enumerated() {
            if row % 256 == 0, !progress(Self.indexShare + (1 - Self.indexShare) * Double(row) / Double(order.count)) { throw .stopped(path: writer.path) }
            let payload = rows[rank].rows.payloadBytes(rows[rank].row)
            try writer.append(payload)
            end += UInt64(payload.count)
            ends.append(end)
            // What cannot be decoded is named by the filter that needs it, which an index would hide.
            if let decoded = try? PayloadDecoder.decode(payload) { index?.add(decoded, row: row) } else { index = nil }
        }
        try writer.endSection()
        try writer.addSection("payload.ends", elements: ends)
        try index?.write(into: writer)
    }
}
