import Model
import Storage

/// Where a shard's log stands and who may write it: decided from the entries alone, in order, so that every reader of
/// the same entries decides the same.
struct LogCursor {
    /// Position of the last entry that was admitted; 0 before the first.
    private(set) var position: UInt64
    /// Of the highest claim so far; 0 before the first.
    private(set) var epoch: UInt64
    /// Positions of claims, terminal entries and barriers: never to be deleted (protocol, H2).
    private(set) var fences: [UInt64]
    /// After a terminal entry nothing is valid.
    private(set) var end: End?
    /// Index of the other half that this one promised to merge with.
    private(set) var promise: Int?
    /// Whose claim stands, unless it was released.
    private(set) var holder: LogWriterID?
    /// What was so before each claim that no entry of its writer has followed yet.
    private var unconfirmed: [(epoch: UInt64, holder: LogWriterID?)] = []
    /// Whether an entry was stepped over: it may have been the claim of a later epoch.
    private var hasGap = false
    /// This opening of the shard.
    let writer: LogWriterID

    /// An empty log.
    init(writer: LogWriterID) {
        self.writer = writer
        position = 0
        epoch = 0
        fences = []
    }

    /// The log as of a manifest. Its writer was the holder then: only an owner seals, after its claim.
    init(writer: LogWriterID, after manifest: Manifest) {
        self.writer = writer
        position = manifest.position
        epoch = manifest.epoch
        fences = manifest.fences
        // What a half of a split shard begins with nobody wrote.
        holder = manifest.version == 0 ? nil : manifest.writer
    }

    /// The end of a shard that others took the place of, of whose log only the fences may be left.
    init(writer: LogWriterID, endedBy end: End, at fences: [UInt64], epoch: UInt64) {
        self.writer = writer
        position = fences.last ?? 0
        self.epoch = epoch
        self.fences = fences
        self.end = end
    }

    /// The beginning of a shard that two were merged into.
    init(writer: LogWriterID, afterMerging lower: LogCursor, _ upper: LogCursor) {
        self.writer = writer
        position = max(lower.position, upper.position)
        epoch = max(lower.epoch, upper.epoch)
        fences = []
    }

    enum End: Hashable {
        case dropped
        /// Two other shards keep its halves.
        case split
        /// The shard that it was merged into with this half keeps its range, once that half has ended, too.
        case merged(with: Int)

        /// `nil` for an entry that ends nothing.
        init?(_ content: LogEntry.Content) {
            switch content {
            case .terminal: self = .dropped
            case .split: self = .split
            case .merge(let other): self = .merged(with: other)
            case .data, .bulk, .claim, .release, .promise, .barrier: return nil
            }
        }
    }
    var isOver: Bool { end != nil }

    /// The half that was promised to has ended otherwise.
    mutating func forgetPromise() { promise = nil }

    var isOwner: Bool { holder == writer }

    enum Verdict: Equatable {
        case valid
        /// Written by an owner that had lost the shard already: no reader applies it (protocol, H4). With one put in flight there are none.
        case void
    }

    enum Fault: Error, Equatable {
        case wrongPosition(expected: UInt64, found: UInt64)
        case epochWithoutClaim(position: UInt64, epoch: UInt64, highest: UInt64)
    }

    /// Takes the next entry.
    mutating func admit(_ entry: LogEntry) throws(Fault) -> Verdict {
        guard entry.position == position + 1 else { throw .wrongPosition(expected: position + 1, found: entry.position) }
        if entry.isFence { fences.append(entry.position) }
        // It is nobody's: whose the shard is does not matter.
        if case .barrier = entry.content, !isOver {
            position += 1
            return .valid
        }
        takeBackClaims(before: entry)
        if case .claim = entry.content, !isOver, entry.epoch > epoch {
            position += 1
            unconfirmed.append((epoch, holder))
            epoch = entry.epoch
            holder = entry.writer
            return .valid
        }
        if hasGap, !isOver, entry.epoch > epoch {
            epoch = entry.epoch
            holder = entry.writer
        }
        guard isOver || entry.epoch <= epoch else {
            throw .epochWithoutClaim(position: entry.position, epoch: entry.epoch, highest: epoch)
        }
        position += 1
        guard !isOver, entry.epoch == epoch, entry.writer == holder else { return .void }
        unconfirmed = []
        switch entry.content {
        case .data, .bulk: return .valid
        case .claim, .barrier: return .void  // the same writer claims each epoch once
        case .release: holder = nil
        case .promise(let other): promise = other
        case .terminal, .split, .merge: end = End(entry.content)
        }
        return .valid
    }

    /// Claims that the next entry shows to be void: it is what follows the log as it was before them. They came to positions that had been truncated, in a
    /// log that has ended and keeps its fences only (protocol, H3).
    private mutating func takeBackClaims(before entry: LogEntry) {
        func follows(_ epoch: UInt64, _ holder: LogWriterID?) -> Bool {
            if case .claim = entry.content { return entry.epoch > epoch }
            return entry.epoch == epoch && entry.writer == holder
        }
        guard !isOver, !follows(epoch, holder), let first = unconfirmed.lastIndex(where: { follows($0.epoch, $0.holder) }) else { return }
        (epoch, holder) = unconfirmed[first]
        unconfirmed.removeSubrange(first...)
    }

    /// Steps over an entry that cannot be read. Afterwards the log must not be written: the lost entry may have been a claim.
    mutating func skipDamaged() {
        position += 1
        fences.append(position)
        hasGap = true
    }

    /// The entry that makes this writer the owner.
    func claim(nonce: Nonce) -> LogEntry {
        LogEntry(position: position + 1, epoch: epoch + 1, writer: writer, nonce: nonce, content: .claim)
    }

    /// The owner's next entry.
    func entry(_ content: LogEntry.Content, nonce: Nonce) -> LogEntry {
        precondition(isOwner, "\(writer) writes to a log that \(holder.map(\.description) ?? "nobody") holds")
        return LogEntry(position: position + 1, epoch: epoch, writer: writer, nonce: nonce, content: content)
    }
}
