import Foundation
import Storage

/// Does the work of one build on some threads, says how far it is, and stops when told to.
///
/// Work comes in pieces that do not depend on the number of threads, and what they give is taken in their order: so what is built does
/// not depend on it either.
package final class BuildWork {
    private let threads: Int
    private let path: String
    private let progress: (Double) -> Bool
    private var done = 0.0

    /// - Parameters:
    ///   - threads: At least 1; the caller's is one of them.
    ///   - path: Of the file that is built, for errors.
    ///   - progress: Gets the share that is done, never a smaller one than before; returns false to stop. Called on the caller's thread.
    package init(threads: Int, path: String, progress: @escaping (Double) -> Bool) {
        precondition(threads >= 1, "\(threads) threads")
        self.threads = threads
        self.path = path
        self.progress = progress
    }

    /// 0..<`count` in pieces of `size`.
    package static func pieces(_ count: Int, of size: Int) -> [Range<Int>] {
        stride(from: 0, to: count, by: max(1, size)).map { $0..<min($0 + max(1, size), count) }
    }

    /// Makes something of every piece on several threads and takes it on this one, in order.
    ///
    /// - Parameters:
    ///   - share: Part of the whole build that is done afterwards, 0…1.
    ///   - make: Some milliseconds of work, so that stopping does not take long.
    ///   - take: Called while later pieces are made; few of them are made ahead.
    /// - Throws: What `take` throws; ``SegmentError/stopped(path:)``.
    package func forEach<Piece: Sendable, Value: Sendable>(
        _ pieces: [Piece], until share: Double, make: @escaping @Sendable (Piece) -> Value, take: (Value) throws(SegmentError) -> Void
    ) throws(SegmentError) {
        let helpers = min(threads, pieces.count) - 1
        let line = PieceLine(pieces, ahead: 4 * threads, make: make)
        for _ in 0..<max(0, helpers) { line.addHelper() }
        defer { line.finish() }
        let start = done
        for index in pieces.indices {
            try take(line.value(index))
            try advance(to: start + (share - start) * Double(index + 1) / Double(pieces.count))
        }
        try advance(to: share)
    }

    /// All that pieces give, joined in their order.
    func joined<Piece: Sendable, Element: Sendable>(
        _ pieces: [Piece], count: Int, until share: Double, make: @escaping @Sendable (Piece) -> [Element]
    ) throws(SegmentError) -> [Element] {
        var all: [Element] = []
        all.reserveCapacity(count)
        try forEach(pieces, until: share, make: make) { all += $0 }
        return all
    }

    /// Says how much of the build is done.
    func advance(to share: Double) throws(SegmentError) {
        done = max(done, share)
        guard progress(done) else { throw .stopped(path: path) }
    }
}

/// Pieces that several threads work off; only the one that made the line takes the values.
private final class PieceLine<Piece: Sendable, Value: Sendable>: @unchecked Sendable {
    private let pieces: [Piece]
    private let make: @Sendable (Piece) -> Value
    /// Pieces made before their turn, at most: bounds the memory of what waits.
    private let ahead: Int
    private let condition = NSCondition()
    // Below: guarded by `condition`.
    private var next = 0
    private var taken = 0
    private var ready: [Int: Value] = [:]
    private var helpers = 0

    init(_ pieces: [Piece], ahead: Int, make: @escaping @Sendable (Piece) -> Value) {
        self.pieces = pieces
        self.ahead = ahead
        self.make = make
    }

    func addHelper() {
        condition.withLock { helpers += 1 }
        let thread = Thread { [self] in
            while let index = claim() { store(make(pieces[index]), index) }
            condition.withLock {
                helpers -= 1
                condition.broadcast()
            }
        }
        thread.name = "build-helper"
        thread.stackSize = 1 << 20
        thread.start()
    }

    /// The value of the next piece, which is `index`; makes pieces as long as it is not there.
    func value(_ index: Int) -> Value {
        while true {
            let (value, own): (Value?, Int?) = condition.withLock {
                while true {
                    if let value = ready.removeValue(forKey: index) {
                        taken = index + 1
                        condition.broadcast()
                        return (value, nil)
                    }
                    if let own = claimed() { return (nil, own) }
                    condition.wait()
                }
            }
            if let value { return value }
            if let own { store(make(pieces[own]), own) }
        }
    }

    /// Returns when no helper is left.
    func finish() {
        condition.withLock {
            next = pieces.count
            condition.broadcast()
            while helpers > 0 { condition.wait() }
        }
    }

    private func claim() -> Int? {
        condition.withLock {
            while next < pieces.count {
                if let index = claimed() { return index }
                condition.wait()
            }
            return nil
        }
    }

    private func claimed() -> Int? {
        guard next < pieces.count, next < taken + ahead else { return nil }
        next += 1
        return next - 1
    }

    private func store(_ value: Value, _ index: Int) {
        condition.withLock {
            ready[index] = value
            condition.broadcast()
        }
    }
}

/// How much of a build is done after each of its steps, by the time that they take on real embeddings.
enum BuildShare {
    static let mean = 0.017
    static let bytes = 0.043
    static let regions = 0.086
    static let regionsOfRows = 0.129
    static let passes = 0.55
    static let clusters = 0.635
    static let spills = 0.645
    static let norms = 0.65
    static let biases = 0.655
    static let listCodebooks = 0.705
    static let listCodes = 0.71
    static let rowCodebooks = 0.735
    static let rowCodes = 0.8
    static let vectors = 0.86
    static let trials = 0.93
    static let calibration = 1.0

    /// - Parameter part: Of the passes over all rows, 0…1.
    static func lists(_ part: Double) -> Double { regionsOfRows + (passes - regionsOfRows) * part }
}
