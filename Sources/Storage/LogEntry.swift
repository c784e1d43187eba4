import Model

/// One object of a shard's log: `log/<position>`, created once, never changed.
///
/// The log alone fences and acknowledges (protocol, H1). A ``Kind/claim`` makes its writer the owner; entries of a lower epoch
/// after it are void for every reader (H4).
///
/// Body, inside a ``Frame`` with magic `CVLG`:
///
/// | offset | size | field (little-endian) |
/// | --- | --- | --- |
/// | 0 | 8 | position: the one in the object's key |
/// | 8 | 8 | epoch of the writer |
/// | 16 | 8 | incarnation of the writer: random, new for each opening of a shard (H7) |
/// | 24 | 16 | nonce of this entry: tells one's own entry from a foreign one (H5) |
/// | 40 | 1 | kind: 0 data, 1 claim, 2 release, 3 terminal |
/// | 41 | 1 + n | node: its name, length first |
/// | | 4 | data only: dimension d of the vectors |
/// | | 4 | data only: number of requests, then for each: |
/// | | 1 + n | – request id, length first |
/// | | 16 | – hash of the request's body (H19) |
/// | | 4 | – number of operations, then for each its kind in 1 byte and: |
/// | | | – – 1 upsert: point id, 8 bytes hash of the text, 4 bytes n, n bytes payload (JSON), d × 4 bytes vector |
/// | | | – – 2 delete: 4 bytes n, then n point ids |
///
/// A point id is 0 and 8 bytes for an integer, 1 and 16 bytes for a UUID.
package struct LogEntry: Hashable, Sendable {
    package var position: UInt64
    package var epoch: UInt64
    package var writer: LogWriterID
    package var nonce: Nonce
    package var content: Content

    package enum Content: Hashable, Sendable {
        case data(dimension: Int, [LoggedRequest])
        case claim
        /// The owner gives the shard up; the next one need not wait.
        case release
        /// The shard is over: no entry may follow.
        case terminal
    }

    package init(position: UInt64, epoch: UInt64, writer: LogWriterID, nonce: Nonce, content: Content) {
        self.position = position
        self.epoch = epoch
        self.writer = writer
        self.nonce = nonce
        self.content = content
    }

    /// Claims and terminal entries are never deleted while the shard exists (protocol, H2).
    package var isFence: Bool {
        switch content {
        case .claim, .terminal: true
        case .data, .release: false
        }
    }
}

/// Who writes a log: a node's opening of a shard, never to be resumed by another process of that name (protocol, H7).
package struct LogWriterID: Hashable, Sendable, CustomStringConvertible {
    package let node: NodeID
    package let incarnation: UInt64
    package init(node: NodeID, incarnation: UInt64) {
        self.node = node
        self.incarnation = incarnation
    }
    package var description: String { "\(node)#\(fixedHex(incarnation))" }
}

/// 128 random bits.
package struct Nonce: Hashable, Sendable {
    package let high: UInt64
    package let low: UInt64
    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
    package static func random() -> Nonce { Nonce(high: .random(in: .min ... .max), low: .random(in: .min ... .max)) }
}

/// What one request of a client does, with filters resolved to ids (protocol, H20).
package struct LoggedRequest: Hashable, Sendable {
    package var id: RequestID
    /// First 16 bytes of the SHA-256 of the request as it came.
    package var bodyHash: Nonce
    package var operations: [LoggedOperation]

    package init(id: RequestID, bodyHash: Nonce, operations: [LoggedOperation]) {
        self.id = id
        self.bodyHash = bodyHash
        self.operations = operations
    }
}

package enum LoggedOperation: Hashable, Sendable {
    case upsert(LoggedPoint)
    case delete([PointID])
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

extension LogEntry {
    package static let frame = Frame(kind: "log entry", magic: 0x474c_5643, version: 1)

    package func encoded() -> [UInt8] {
        var writer = ByteWriter(capacity: 128)
        writer.append(position)
        writer.append(epoch)
        writer.append(self.writer.incarnation)
        writer.append(nonce.high)
        writer.append(nonce.low)
        switch content {
        case .data: writer.append(UInt8(0))
        case .claim: writer.append(UInt8(1))
        case .release: writer.append(UInt8(2))
        case .terminal: writer.append(UInt8(3))
        }
        writer.append(short: self.writer.node.rawValue)
        if case .data(let dimension, let requests) = content {
            writer.append(UInt32(dimension))
            writer.append(UInt32(requests.count))
            for request in requests { request.encode(into: &writer) }
        }
        return Self.frame.wrap(writer.bytes)
    }

    /// - Throws: ``FormatError/needsNewerReader(kind:needs:has:)`` for an entry of a later release, which must stop the
    ///   shard; everything else is damage.
    package init(decoding object: [UInt8]) throws(FormatError) {
        var reader = try Self.frame.open(object)
        position = try reader.read()
        epoch = try reader.read()
        let incarnation: UInt64 = try reader.read()
        nonce = Nonce(high: try reader.read(), low: try reader.read())
        let kind: UInt8 = try reader.read()
        writer = LogWriterID(node: NodeID(try reader.readShort()), incarnation: incarnation)
        switch kind {
        case 0:
            let dimension = Int(try reader.read(UInt32.self))
            let count = try reader.readCount(of: 21)
            var requests: [LoggedRequest] = []
            for _ in 0..<count { requests.append(try LoggedRequest(decoding: &reader, dimension: dimension)) }
            content = .data(dimension: dimension, requests)
        case 1: content = .claim
        case 2: content = .release
        case 3: content = .terminal
        default: throw .needsNewerReader(kind: "log entry of kind \(kind)", needs: Self.frame.version + 1, has: Self.frame.version)
        }
        guard reader.remaining == 0 else { throw .malformed("\(reader.remaining) bytes follow the last field") }
    }
}

extension LoggedRequest {
    fileprivate func encode(into writer: inout ByteWriter) {
        writer.append(short: id.rawValue)
        writer.append(bodyHash.high)
        writer.append(bodyHash.low)
        writer.append(UInt32(operations.count))
        for operation in operations {
            switch operation {
            case .upsert(let point):
                writer.append(UInt8(1))
                writer.append(id: point.id)
                writer.append(point.contentHash)
                writer.append(UInt32(point.payload.count))
                writer.append(bytes: point.payload)
                writer.append(floats: point.vector)
            case .delete(let ids):
                writer.append(UInt8(2))
                writer.append(UInt32(ids.count))
                for id in ids { writer.append(id: id) }
            }
        }
    }

    fileprivate init(decoding reader: inout ByteReader, dimension: Int) throws(FormatError) {
        id = RequestID(try reader.readShort())
        bodyHash = Nonce(high: try reader.read(), low: try reader.read())
        let count = try reader.readCount(of: 5)
        operations = []
        operations.reserveCapacity(count)
        for _ in 0..<count {
            switch try reader.read(UInt8.self) {
            case 1:
                let id = try reader.readID()
                let contentHash: UInt64 = try reader.read()
                let payload = try reader.read(count: try reader.readCount(of: 1))
                let vector = try reader.readFloats(count: dimension)
                operations.append(.upsert(LoggedPoint(id: id, vector: vector, payload: payload, contentHash: contentHash)))
            case 2:
                let idCount = try reader.readCount(of: 9)
                var ids: [PointID] = []
                ids.reserveCapacity(idCount)
                for _ in 0..<idCount { ids.append(try reader.readID()) }
                operations.append(.delete(ids))
            case let tag: throw .needsNewerReader(kind: "log operation of kind \(tag)", needs: LogEntry.frame.version + 1, has: LogEntry.frame.version)
            }
        }
    }
}
