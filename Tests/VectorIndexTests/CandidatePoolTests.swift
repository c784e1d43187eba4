import Testing
import VectorIndex
import VectorMath

@Suite("candidates") struct CandidatePoolTests {
    /// Offers the keys in parts, each of those above the pool's floor, as a scan does.
    private func offer(_ keys: [UInt64], to pool: inout CandidatePool) {
        pool.scan(keys.count) { out, floor in
            var added = 0
            for key in keys where RankKey.score(key) > floor {
                out[added] = key
                added += 1
            }
            return added
        }
    }

    @Test("what it holds after cuts and refusals is what a sorted list has, or it says what it let go", arguments: [false, true], 1...40 as ClosedRange<UInt64>)
    func holds(hasTwins: Bool, seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let (rank, keep) = (Int.random(in: 1...40, using: &random), Int.random(in: 80...400, using: &random))
        var pool = CandidatePool(keep: keep, storage: [], hasTwins: hasTwins, kernels: .best)
        var (seen, copy, all, refused): (RowSet, [UInt64], [UInt64], UInt64) = (RowSet(), [], [], 0)
        for part in 0..<Int.random(in: 1...12, using: &random) {
            let keys = (0..<Int.random(in: 0...300, using: &random)).map { index in
                // A row comes a second time with another score.
                RankKey.make(Int32.random(in: -3_000...3_000, using: &random), UInt32(hasTwins ? (part * 300 + index) / 2 : part * 300 + index))
            }
            all += keys
            offer(keys, to: &pool)
            var rows: Set<UInt32> = []
            let best = all.sorted(by: >).filter { rows.insert(RankKey.row($0)).inserted || !hasTwins }
            let found = pool.score(ofRank: rank, copy: &copy, &seen)
            #expect(found == (best.count >= rank ? RankKey.score(best[rank - 1]) : nil))
            if let found, part % 3 == 2 {
                refused = max(refused, RankKey.make(found - Int32.random(in: 0...2_000, using: &random), .max))
                pool.refuse(below: refused)
            }
        }
        let wanted = all.filter { $0 >= refused }.sorted(by: >)
        if pool.lost <= refused {
            #expect(pool.storage[..<pool.count].filter { $0 >= refused }.sorted(by: >) == wanted)
        } else {
            #expect(wanted.count > keep)
            #expect(pool.storage[..<pool.count].filter { $0 >= pool.lost }.sorted(by: >) == wanted.filter { $0 >= pool.lost })
        }
        pool.finish()
        #expect(pool.storage[..<pool.count].sorted(by: >).prefix(keep) == wanted.prefix(keep))
    }
}
