import Model

/// Operations of one request that is larger than a log entry may be: `bulk/<name>`, created once, never changed.
///
/// All of a request's objects are put before the entry that names them, so the request takes effect with that one create of an
/// entry or not at all (protocol, H24, H25). A name begins with the position that the entry was meant for: what no entry at that
/// position names was left by a writer that went no further, and is deleted with what a manifest covers (H16).
///
/// Body, inside a ``Frame`` with magic `CVBK`: 4 bytes dimension, then operations as ``LoggedOperation`` has them.
package struct BulkObject: Hashable, Sendable {
    package var dimension: Int
    package var operations: [LoggedOperation]

    package init(dimension: Int, operations: [LoggedOperation]) {
        self.dimension = dimension
        self.operations = operations
    }

    /// Cuts operations into pieces of at most `limit` bytes each, in order; one operation larger than that is a piece of its own,
    /// unless it is a deletion, which becomes several.
    package static func pieces(of operations: [LoggedOperation], limit: Int) -> [[LoggedOperation]] {
        let idsPerPiece = max(1, (limit - LoggedOperation.byteCount(deleting: 0)) / 17)
        var pieces: [[LoggedOperation]] = []
        var byteCount = limit
        func add(_ operation: LoggedOperation) {
            if byteCount + operation.byteCount > limit {
                pieces.append([])
                byteCount = 0
            }
            pieces[pieces.count - 1].append(operation)
            byteCount += operation.byteCount
        }
        for operation in operations {
            guard case .delete(let ids) = operation, ids.count > idsPerPiece else {
                add(operation)
                continue
            }
            for start in stride(from: 0, to: ids.count, by: idsPerPiece) { add(.delete(Array(ids[start..<min(start + idsPerPiece, ids.count)]))) }
        }
        return pieces
    }
}

/// What an entry says of a request whose operations are elsewhere.
package struct BulkRequest: Hashable, Sendable {
    package var part: WritePart
    /// In the order of the operations.
    package var objects: [BulkRecord]

    package init(_ part: WritePart, objects: [BulkRecord]) {
        self.part = part
        self.objects = objects
    }
}

/// A bulk object as an entry names it.
package struct BulkRecord: Hashable, Sendable {
    /// Last part of the object's key.
    package var name: String
    package var byteCount: Int
    /// The one at the object's end: a CRC over an object and its own CRC is the same for every object.
    package var checksum: UInt32

    package init(name: String, of object: [UInt8]) {
        self.init(name: name, byteCount: object.count, checksum: BulkObject.frame.checksum(of: object))
    }

    package init(name: String, byteCount: Int, checksum: UInt32) {
        self.name = name
        self.byteCount = byteCount
        self.checksum = checksum
    }

    /// - Parameter counter: New for each object of this incarnation, so that no name is ever used twice.
    package static func name(position: UInt64, epoch: UInt64, incarnation: UInt64, counter: Int) -> String {
        "\(StoreKey.twentyDigits(position))-\(SegmentRecord.name(epoch: epoch, incarnation: incarnation, counter: counter))"
    }
    /// The position in a name.
    package static func position(of name: String) -> UInt64? { StoreKey.number(at: String(name.prefix(20))) }
}

// MARK: - Bytes

extension BulkObject {
    package static let frame = Frame(kind: "bulk object", magic: 0x4b42_5643, version: 1)
    /// Bytes of an object around its operations.
    package static let overhead = Frame.overhead + 8

    package func encoded() -> [UInt8] {
        var writer = ByteWriter(capacity: operations.reduce(8) { $0 + $1.byteCount })
        writer.append(UInt32(dimension))
        writer.append(operations: operations)
        return Self.frame.wrap(writer.bytes)
    }

    /// - Throws: ``FormatError``; also if the object is not the one that `record` names.
    package init(decoding object: [UInt8], of record: BulkRecord) throws(FormatError) {
        guard object.count == record.byteCount else { throw .malformed("it has \(object.count) bytes, its entry says \(record.byteCount)") }
        let checksum = Self.frame.checksum(of: object)
        guard checksum == record.checksum else { throw .checksumMismatch(expected: record.checksum, found: checksum) }
        var reader = try Self.frame.open(object)
        dimension = Int(try reader.read(UInt32.self))
        operations = try reader.readOperations(dimension: dimension)
        guard reader.remaining == 0 else { throw .malformed("\(reader.remaining) bytes follow the last field") }
    }
}

extension BulkRequest {
    func encode(into writer: inout ByteWriter) {
        part.encode(into: &writer)
        writer.append(UInt32(objects.count))
        for object in objects {
            writer.append(short: object.name)
            writer.append(UInt64(object.byteCount))
            writer.append(object.checksum)
        }
    }

    init(decoding reader: inout ByteReader) throws(FormatError) {
        part = try WritePart(decoding: &reader)
        objects = []
        for _ in 0..<(try reader.readCount(of: 13)) {
            let name = try reader.readShort()
            let byteCount: UInt64 = try reader.read()
            guard byteCount < 1 << 62 else { throw .malformed("bulk object \(name) has \(byteCount) bytes") }
            objects.append(BulkRecord(name: name, byteCount: Int(byteCount), checksum: try reader.read()))
        }
    }
}
