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
/// | 40 | 1 | kind: 0 data, 1 claim, 2 release, 3 terminal, 4 bulk, 5 split, 6 promise, 7 merge, 8 barrier |
/// | 41 | 1 + n | node: its name, length first |
/// | | 4 | data and bulk: dimension d of the vectors |
/// | | 4 | data only: number of requests, then for each: |
/// | | 1 + n | – request id, length first |
/// | | 16 | – hash of the request's body (H19) |
/// | | 4 + … | – its operations, see ``LoggedOperation`` |
/// | | 1 + n, 16 | bulk only: id and hash of the one request |
/// | | 4 | bulk only: number of ``BulkObject``s that hold its operations, then for each: |
/// | | 1 + n, 8, 4 | – name, bytes, checksum as ``BulkRecord`` has them |
/// | | 4 + n, twice | split only: what the lower and the upper half begin with, each a ``Manifest`` of version 0 |
/// | | 8 | promise and merge only: index of the other half |
/// | | 16, 8 | barrier only: id of the ``Cut``; when it was begun |
package struct LogEntry: Hashable, Sendable {
    package var position: UInt64
    package var epoch: UInt64
    package var writer: LogWriterID
    package var nonce: Nonce
    package var content: Content

    package enum Content: Hashable, Sendable {
        case data(dimension: Int, [LoggedRequest])
        /// A request too large for an entry: its operations are in objects that were put before.
        case bulk(dimension: Int, BulkRequest)
        case claim
        /// The owner gives the shard up; the next one need not wait.
        case release
        /// The shard is over: no entry may follow.
        case terminal
        /// The shard is over, and two others keep its halves: each begins as if it had this manifest, at this position (protocol, H13).
        indirect case split(lower: Manifest, upper: Manifest)
        /// The shard will not end otherwise than by merging with the other half of its range, unless that does (protocol, H14). Its log is not
        /// truncated any more.
        case promise(with: Int)
        /// The shard is over, and the one that it is merged into with the other half keeps its points: who opens that one replays both logs.
        case merge(with: Int)
        /// A snapshot's, not the owner's: the place of a ``Cut`` in this log (protocol, H23). Whoever writes next waits until that is decided.
        case barrier(Cut)
    }

    package init(position: UInt64, epoch: UInt64, writer: LogWriterID, nonce: Nonce, content: Content) {
        self.position = position
        self.epoch = epoch
        self.writer = writer
        self.nonce = nonce
        self.content = content
    }

    /// Claims and terminal entries are never deleted while the shard exists (protocol, H2). Nor are barriers: the next position of an owner that slept
    /// may be one's, and the claim of who replaced it comes after.
    package var isFence: Bool {
        switch content {
        case .claim, .terminal, .split, .merge, .barrier: true
        case .data, .bulk, .release, .promise: false
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
    package init(_ bits: UInt128) { self.init(high: UInt64(truncatingIfNeeded: bits >> 64), low: UInt64(truncatingIfNeeded: bits)) }
    package static func random() -> Nonce {
        var entropy = Entropy()
        return Nonce(high: entropy.next(), low: entropy.next())
    }
}

// MARK: - Bytes

extension LogEntry {
    package static let frame = Frame(kind: "log entry", magic: 0x474c_5643, version: 2, oldest: 2)

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
        case .bulk: writer.append(UInt8(4))
        case .split: writer.append(UInt8(5))
        case .promise: writer.append(UInt8(6))
        case .merge: writer.append(UInt8(7))
        case .barrier: writer.append(UInt8(8))
        }
        writer.append(short: self.writer.node.rawValue)
        switch content {
        case .data(let dimension, let requests):
            writer.append(UInt32(dimension))
            writer.append(UInt32(requests.count))
            for request in requests { request.encode(into: &writer) }
        case .bulk(let dimension, let request):
            writer.append(UInt32(dimension))
            request.encode(into: &writer)
        case .split(let lower, let upper):
            for half in [lower, upper] {
                let bytes = half.encoded()
                writer.append(UInt32(bytes.count))
                writer.append(bytes: bytes)
            }
        case .promise(let other), .merge(let other): writer.append(UInt64(other))
        case .barrier(let cut):
            writer.append(cut.id.high)
            writer.append(cut.id.low)
            writer.append(UInt64(bitPattern: cut.begunAt))
        case .claim, .release, .terminal: break
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
            let count = try reader.readCount(of: 22)
            var requests: [LoggedRequest] = []
            for _ in 0..<count { requests.append(try LoggedRequest(decoding: &reader, dimension: dimension)) }
            content = .data(dimension: dimension, requests)
        case 1: content = .claim
        case 2: content = .release
        case 3: content = .terminal
        case 4:
            let dimension = Int(try reader.read(UInt32.self))
            content = .bulk(dimension: dimension, try BulkRequest(decoding: &reader))
        case 5:
            let lower = try Manifest(half: &reader, position)
            content = .split(lower: lower, upper: try Manifest(half: &reader, position))
        case 6, 7:
            let other: UInt64 = try reader.read()
            guard other < 1 << 53 else { throw .malformed("it names shard \(other)") }
            content = kind == 6 ? .promise(with: Int(other)) : .merge(with: Int(other))
        case 8:
            let id = Nonce(high: try reader.read(), low: try reader.read())
            content = .barrier(Cut(id: id, begunAt: Int64(bitPattern: try reader.read())))
        default: throw .needsNewerReader(kind: "log entry of kind \(kind)", needs: Self.frame.version + 1, has: Self.frame.version)
        }
        guard reader.remaining == 0 else { throw .malformed("\(reader.remaining) bytes follow the last field") }
    }
}

extension Manifest {
    /// What one half of a split shard begins with.
    fileprivate init(half reader: inout ByteReader, _ position: UInt64) throws(FormatError) {
        let byteCount = Int(try reader.read(UInt32.self))
        self = try Manifest(decoding: try reader.read(count: byteCount))
        guard self.position == position, version == 0 else { throw .malformed("a half begins at position \(self.position), version \(version)") }
    }
}
