import Synchronization

/// Where all random identifiers come from: the system's generator, unless the simulation has put a seeded one in its place.
package struct Entropy: RandomNumberGenerator {
    private static let replacement = Mutex<(@Sendable () -> UInt64)?>(nil)

    /// For a process that simulates; `nil` gives the system's generator back.
    package static func replace(by source: (@Sendable () -> UInt64)?) { replacement.withLock { $0 = source } }

    package init() {}

    package mutating func next() -> UInt64 {
        if let source = Self.replacement.withLock({ $0 }) { return source() }
        var system = SystemRandomNumberGenerator()
        return system.next()
    }
}
