/// A small seeded generator of random numbers: the same seed gives the same numbers everywhere (Steele, Lea, Flood, OOPSLA 2014).
package struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// `count` different numbers of 0..<`limit`, ascending (Knuth's selection sampling; O(`limit`)).
    package mutating func sample(_ count: Int, below limit: Int) -> [Int] {
        precondition(count >= 0 && count <= limit, "\(count) of \(limit)")
        var chosen: [Int] = []
        chosen.reserveCapacity(count)
        for candidate in 0..<limit where chosen.count < count {
            if Int(next() % UInt64(limit - candidate)) < count - chosen.count { chosen.append(candidate) }
        }
        return chosen
    }
}
