import Synchronization

/// A number that only grows, for as long as the process lives.
package final class Counter: Sendable {
    private let count = Atomic<Int>(0)
    init() {}

    package var value: Int { count.load(ordering: .relaxed) }

    package func add(_ amount: Int = 1) {
        precondition(amount >= 0, "counter decreased by \(-amount)")
        count.wrappingAdd(amount, ordering: .relaxed)
    }
}

/// A number that rises and falls.
package final class Gauge: Sendable {
    private let bits = Atomic<UInt64>(0)
    init() {}

    package var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }

    package func set(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }

    package func add(_ amount: Double) {
        var seen = bits.load(ordering: .relaxed)
        while true {
            let sum = (Double(bitPattern: seen) + amount).bitPattern
            let (exchanged, original) = bits.compareExchange(expected: seen, desired: sum, ordering: .relaxed)
            if exchanged { return }
            seen = original
        }
    }
}
