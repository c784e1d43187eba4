import Model

/// A summary of a shard's log up to ``position``: `manifest/<max − version>`, created once, never changed.
///
/// Manifests form a chain that neither fences nor acknowledges: each is a pure function of a committed prefix of the log, and
/// losing the race for a version means "read the newest again", never "deposed" (protocol, H1). Versions grow by one,
/// positions never fall.
///
/// Body, inside a ``Frame`` with magic `CVMF`:
///
/// | size | field (little-endian; `var` is a number of 7 bits a byte) |
/// | --- | --- |
/// | 8, 8, 8 | version, position P, epoch at P |
/// | 8, 1 + n | writer: incarnation, node |
/// | 4 + 8n | positions ≤ P of claims and terminal entries: never deleted (H2) |
/// | 4 | number of segments, oldest first, then for each: |
/// | 1 + n | – name |
/// | 8, 8 | – from, to: it holds what was live at `to` of the entries in (from, to] |
/// | 8, 4, 4 | – bytes, CRC-32C of the file, rows |
/// | 4 + var… | – rows deleted or replaced at or before P, ascending, each as the distance from the one before |
/// | 4 | number of remembered requests, oldest first, then for each (H19): |
/// | 1 + n, var, 16, 8, 4 | – id, number and hash of the part, position, points superseded |
/// | 8 | newest time of an id that is not remembered any more, ms since 1970; 0: none |
/// | 4 | number of requests of which a part was applied, then for each: |
/// | 4, 4 | – its place among the requests, number of hash ranges, then for each: |
/// | 8, 8 | – – first, last |
package struct Manifest: Hashable, Sendable {
    package var version: UInt64
    package var position: UInt64
    package var epoch: UInt64
    package var writer: LogWriterID
    package var fences: [UInt64]
    package var segments: [SegmentRecord]
    package var requests: [RememberedRequest]
    /// Of ids that have a time, the newest that is no longer among ``requests``, in milliseconds since 1970.
    package var forgotten: UInt64

    package init(
        version: UInt64, position: UInt64, epoch: UInt64, writer: LogWriterID, fences: [UInt64], segments: [SegmentRecord],
        requests: [RememberedRequest], forgotten: UInt64 = 0
    ) {
        self.forgotten = forgotten
        self.version = version
        self.position = position
        self.epoch = epoch
        self.writer = writer
        self.fences = fences
        self.segments = segments
        self.requests = requests
    }
}

/// A segment as a manifest names it.
package struct SegmentRecord: Hashable, Sendable {
    /// Last part of the object's key: epoch, incarnation and a counter, so that no name is ever used twice (protocol, H16).
    package var name: String
    package var from: UInt64
    package var to: UInt64
    package var byteCount: Int
    package var checksum: UInt32
    package var rowCount: Int
    /// Ascending.
    package var deletedRows: [Int]

    package init(name: String, from: UInt64, to: UInt64, byteCount: Int, checksum: UInt32, rowCount: Int, deletedRows: [Int]) {
        self.name = name
        self.from = from
        self.to = to
        self.byteCount = byteCount
        self.checksum = checksum
        self.rowCount = rowCount
        self.deletedRows = deletedRows
    }

    package static func name(epoch: UInt64, incarnation: UInt64, counter: Int) -> String {
        "\(fixedHex(epoch))-\(fixedHex(incarnation))-\(counter)"
    }
    /// The epoch and incarnation in a name.
    package static func origin(of name: String) -> (epoch: UInt64, incarnation: UInt64)? {
        let parts = name.split(separator: "-")
        guard parts.count == 3, let epoch = UInt64(parts[0], radix: 16), let incarnation = UInt64(parts[1], radix: 16) else { return nil }
        return (epoch, incarnation)
    }
}

/// A request that was applied, and what was answered: asked again, it is answered the same and not applied again.
package struct RememberedRequest: Hashable, Sendable {
    package var part: WritePart
    package var position: UInt64
    package var superseded: Int
    /// The part of the shard's range that it was applied to, ascending; `nil` for all of it. So it is where only one of two halves had applied it
    /// when they were merged.
    package var ranges: [HashRange]?

    package init(_ part: WritePart, position: UInt64, superseded: Int, ranges: [HashRange]? = nil) {
        self.ranges = ranges
        self.part = part
        self.position = position
        self.superseded = superseded
    }
}

// MARK: - Bytes

extension Manifest {
    package static let frame = Frame(kind: "manifest", magic: 0x464d_5643, version: 3, oldest: 3)

    package func encoded() -> [UInt8] {
        var writer = ByteWriter()
        writer.append(version)
        writer.append(position)
        writer.append(epoch)
        writer.append(self.writer.incarnation)
        writer.append(short: self.writer.node.rawValue)
        writer.append(UInt32(fences.count))
        for fence in fences { writer.append(fence) }
        writer.append(UInt32(segments.count))
        for segment in segments {
            writer.append(short: segment.name)
            writer.append(segment.from)
            writer.append(segment.to)
            writer.append(UInt64(segment.byteCount))
            writer.append(segment.checksum)
            writer.append(UInt32(segment.rowCount))
            writer.append(UInt32(segment.deletedRows.count))
            var previous = 0
            for row in segment.deletedRows {
                writer.append(variableLength: UInt64(row - previous))
                previous = row
            }
        }
        writer.append(UInt32(requests.count))
        for request in requests {
            request.part.encode(into: &writer)
            writer.append(request.position)
            writer.append(UInt32(request.superseded))
        }
        writer.append(forgotten)
        let parts = requests.enumerated().filter { $0.element.ranges != nil }
        writer.append(UInt32(parts.count))
        for (place, request) in parts {
            writer.append(UInt32(place))
            writer.append(UInt32(request.ranges!.count))
            for range in request.ranges! {
                writer.append(range.first)
                writer.append(range.last)
            }
        }
        return Self.frame.wrap(writer.bytes)
    }

    package init(decoding object: [UInt8]) throws(FormatError) {
        var reader = try Self.frame.open(object)
        version = try reader.read()
        position = try reader.read()
        epoch = try reader.read()
        let incarnation: UInt64 = try reader.read()
        writer = LogWriterID(node: NodeID(try reader.readShort()), incarnation: incarnation)
        fences = []
        for _ in 0..<(try reader.readCount(of: 8)) { fences.append(try reader.read()) }
        segments = []
        for _ in 0..<(try reader.readCount(of: 37)) { segments.append(try SegmentRecord(decoding: &reader)) }
        requests = []
        for _ in 0..<(try reader.readCount(of: 30)) {
            let part = try WritePart(decoding: &reader)
            let position: UInt64 = try reader.read()
            requests.append(RememberedRequest(part, position: position, superseded: Int(try reader.read(UInt32.self))))
        }
        forgotten = try reader.read()
        for _ in 0..<(try reader.readCount(of: 8)) {
            let place = Int(try reader.read(UInt32.self))
            guard place < requests.count else { throw .malformed("there is no request \(place)") }
            var ranges: [HashRange] = []
            for _ in 0..<(try reader.readCount(of: 16)) {
                let (first, last): (UInt64, UInt64) = (try reader.read(), try reader.read())
                guard first <= last else { throw .malformed("request \(place) has a hash range that is empty") }
                ranges.append(HashRange(first: first, last: last))
            }
            requests[place].ranges = ranges
        }
        guard reader.remaining == 0 else { throw .malformed("\(reader.remaining) bytes follow the last field") }
    }
}

extension SegmentRecord {
    fileprivate init(decoding reader: inout ByteReader) throws(FormatError) {
        name = try reader.readShort()
        from = try reader.read()
        to = try reader.read()
        let byteCount: UInt64 = try reader.read()
        guard byteCount < 1 << 62 else { throw .malformed("segment \(name) has \(byteCount) bytes") }
        self.byteCount = Int(byteCount)
        checksum = try reader.read()
        rowCount = Int(try reader.read(UInt32.self))
        deletedRows = []
        var row = 0
        for _ in 0..<(try reader.readCount(of: 1)) {
            let distance = try reader.readVariableLength()
            guard distance <= UInt64(rowCount), row + Int(distance) < rowCount else { throw .malformed("segment \(name) has no row \(row) + \(distance)") }
            row += Int(distance)
            deletedRows.append(row)
        }
    }
}
