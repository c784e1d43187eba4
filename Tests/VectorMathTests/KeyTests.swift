import Testing
import VectorMath

private let levels = Kernels.Level.allCases.filter { Kernels($0) != nil }

@Suite("selection among keys")
struct KeyTests {
    private static let counts = [1, 7, 8, 9, 23, 31, 32, 33, 64, 100, 127, 128, 130, 1_100, 2_048, 2_049, 5_000]

    /// In no order, ascending, descending, all equal, of few values, with the extremes.
    private func inputs(_ count: Int) -> [[UInt64]] {
        var random = SplitMix64(seed: UInt64(count))
        let all = (0..<count).map { _ in random.next() % UInt64(100 * count) }
        let extremes = (0..<count).map { [0, .max, random.next()][$0 % 3] }
        return [all, all.sorted(), all.sorted(by: >), [UInt64](repeating: 5, count: count), all.map { $0 % 3 }, extremes]
    }

    @Test("the kept keys are the largest, and the least of them is told", arguments: levels, counts)
    func keepLargest(level: Kernels.Level, count: Int) {
        for input in inputs(count) {
            let ranked = input.sorted(by: >)
            for keep in Set([0, 1, 2, 8, 9, 16, 17, 31, 32, 33, 64, 65, count / 3, count - 1, count]) where keep <= count {
                var keys = input
                var span = keys.mutableSpan
                let least = Kernels(level)!.keepLargest(keep, ofFirst: count, in: &span)
                #expect(keys.prefix(keep).sorted(by: >) == Array(ranked.prefix(keep)), "\(keep) of \(count)")
                #expect(keys.sorted(by: >) == ranked && least == (keep == 0 ? .max : ranked[keep - 1]))
            }
        }
    }

    @Test("what is beyond the keys is left alone", arguments: levels, [1, 8, 30, 33, 200])
    func beyond(level: Kernels.Level, count: Int) {
        for input in inputs(count) {
            for keep in 0...min(count, 40) {
                var keys = input + (0..<16).map { .max - $0 }
                var span = keys.mutableSpan
                Kernels(level)!.keepLargest(keep, ofFirst: count, in: &span)
                #expect(Array(keys.suffix(16)) == (0..<16).map { .max - $0 })
            }
        }
    }

    @Test("keys that reach a bound are moved, packed and copied as the reference does it", arguments: levels, counts)
    func bounds(level: Kernels.Level, count: Int) {
        let kernels = Kernels(level)!
        for input in inputs(count) {
            for least in [0, 1, input[count / 2], input.max()!, .max] {
                let there = input.filter { $0 >= least }
                let moved = [Kernels(.portable)!, kernels].map { kernels in
                    var keys = input
                    var span = keys.mutableSpan
                    #expect(kernels.moveToFront(&span, atLeast: least) == there.count)
                    return keys
                }
                #expect(moved[0] == moved[1] && Array(moved[1].prefix(there.count)) == there && moved[1].sorted() == input.sorted())
                var packed = input
                var span = packed.mutableSpan
                #expect(kernels.pack(&span, atLeast: least) == there.count && Array(packed.prefix(there.count)) == there)
                var copy = [UInt64](repeating: 9, count: count + 8)
                var out = copy.mutableSpan
                #expect(kernels.copy(input.span, atLeast: least, into: &out) == there.count && Array(copy.prefix(there.count)) == there)
            }
            #expect(kernels.greatest(of: input.span) == input.max()! && kernels.greatest(of: input.span.extracting(count...)) == 0)
        }
    }
}
