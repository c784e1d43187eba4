import Model

/// A part of a client's write, which a shard applies once (protocol, H19): a large write reaches a shard in several.
package struct WritePart: Hashable, Sendable {
    package var id: RequestID
    /// Which part of the write it is; its place is the same whenever the write is sent.
    package var number: UInt64
    /// First 16 bytes of the SHA-256 of the part as it came.
    package var bodyHash: Nonce

    /// What it is known by: one of the same name and another hash belongs to another write.
    package struct Name: Hashable, Sendable {
        let id: RequestID
        let number: UInt64
    }
    package var name: Name { Name(id: id, number: number) }

    package init(id: RequestID, number: UInt64 = 0, bodyHash: Nonce) {
        self.id = id
        self.number = number
        self.bodyHash = bodyHash
    }
}

/// What one request of a client does, with filters resolved to ids (protocol, H20).
package struct LoggedRequest: Hashable, Sendable {
    package var part: WritePart
    package var operations: [LoggedOperation]

    package init(_ part: WritePart, operations: [LoggedOperation]) {
        self.part = part
        self.operations = operations
    }
}

/// One change of points. Several in a row, in a ``LogEntry`` or a ``BulkObject``:
///
/// | size | field (little-endian) |
/// | --- | --- |
/// | 4 | number of operations, then for each its kind in 1 byte and: |
/// | | – 1 upsert: point id, 8 bytes hash of the text, 4 bytes n, n bytes payload (JSON), dimension × 4 bytes vector |
/// | | – 2 delete: 4 bytes n, then n point ids |
///
/// A point id is 0 and 8 bytes for an integer, 1 and 16 bytes for a UUID.
package enum LoggedOperation: Hashable, Sendable {
    case upsert(LoggedPoint)
    case delete([PointID])

    /// Bytes in an entry, at most.
    package var byteCount: Int {
        switch self {
        case .upsert(let point): point.byteCount
        case .delete(let ids): Self.byteCount(deleting: ids.count)
        }
    }
    package static func byteCount(deleting count: Int) -> Int { 5 + 17 * count }
}

package struct LoggedPoint: Hashable, Sendable {
    package var id: PointID
    /// `[dimension]`.
    package var vector: [Float]
    /// JSON.
    package var payload: [UInt8]
    /// See ``Hit/contentHash``.
    package var contentHash: UInt64

    package init(id: PointID, vector: [Float], payload: [UInt8], contentHash: UInt64) {
        self.id = id
        self.vector = vector
        self.payload = payload
        self.contentHash = contentHash
    }

    /// Bytes in an entry, at most.
    package var byteCount: Int { 1 + 17 + 8 + 4 + payload.count + vector.count * 4 }
}

// MARK: - Bytes

extension WritePart {
    func encode(into writer: inout ByteWriter) {
        writer.append(short: id.rawValue)
        writer.append(variableLength: number)
        writer.append(bodyHash.high)
        writer.append(bodyHash.low)
    }

    init(decoding reader: inout ByteReader) throws(FormatError) {
        id = RequestID(try reader.readShort())
        number = try reader.readVariableLength()
        bodyHash = Nonce(high: try reader.read(), low: try reader.read())
    }
}

extension LoggedRequest {
    func encode(into writer: inout ByteWriter) {
        part.encode(into: &writer)
        writer.append(operations: operations)
    }

    init(decoding reader: inout ByteReader, dimension: Int) throws(FormatError) {
        part = try WritePart(decoding: &reader)
        operations = try reader.readOperations(dimension: dimension)
    }
}

extension ByteWriter {
    mutating func append(operations: [LoggedOperation]) {
        append(UInt32(operations.count))
        for operation in operations {
            switch operation {
            case .upsert(let point):
                append(UInt8(1))
                append(id: point.id)
                append(point.contentHash)
                append(UInt32(point.payload.count))
                append(bytes: point.payload)
                append(floats: point.vector)
            case .delete(let ids):
                append(UInt8(2))
                append(UInt32(ids.count))
                for id in ids { append(id: id) }
            }
        }
    }
}

extension ByteReader {
    mutating func readOperations(dimension: Int) throws(FormatError) -> [LoggedOperation] {
        let count = try readCount(of: 5)
        var operations: [LoggedOperation] = []
        operations.reserveCapacity(count)
        for _ in 0..<count {
            switch try read(UInt8.self) {
            case 1:
                let id = try readID()
                let contentHash: UInt64 = try read()
                let payload = try read(count: try readCount(of: 1))
                let vector = try readFloats(count: dimension)
                operations.append(.upsert(LoggedPoint(id: id, vector: vector, payload: payload, contentHash: contentHash)))
            case 2:
                let idCount = try readCount(of: 9)
                var ids: [PointID] = []
                ids.reserveCapacity(idCount)
                for _ in 0..<idCount { ids.append(try readID()) }
                operations.append(.delete(ids))
            case let tag: throw .needsNewerReader(kind: "log operation of kind \(tag)", needs: LogEntry.frame.version + 1, has: LogEntry.frame.version)
            }
        }
        return operations
    }
}
