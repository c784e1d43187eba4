import Synchronization

/// Where all random identifiers come from: the system's generator, unless the simulation has put a seeded one in its place.
package struct Entropy: RandomNumberGenerator {
    /// In a box: a mutex wraps a function anew each time that it is looked at.
    private struct Source {
        let next: @Sendable () -> UInt64
    }
    private static let replacement = Mutex<Source?>(nil)

    /// For a process that simulates; `nil` gives the system's generator back.
    package static func replace(by source: (@Sendable () -> UInt64)?) { replacement.withLock { $0 = source.map(Source.init) } }

    package init() {}

    package mutating func next() -> UInt64 {
        if let source = Self.replacement.withLock({ $0 }) { return source.next() }
        var system = SystemRandomNumberGenerator()
        return system.next()
    }
}
