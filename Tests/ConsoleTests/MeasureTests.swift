import Console
import Foundation
import Synchronization
import Testing

@Suite("Measures and progress") struct MeasureTests {
    @Test("measures of rankings agree with their definitions")
    func measures() {
        let measures = RankingMeasures([
            (ranking: ["a", "b", "c"], grades: ["a": 2, "c": 1]),
            (ranking: (0..<200).map { "x\($0)" }, grades: ["x10": 1, "x99": 1]),
            (ranking: [], grades: ["y": 1]),
            (ranking: ["z"], grades: ["z": 0]),  // nothing is right: does not count
        ])
        #expect(measures.recall[1] == 0.5 / 3)
        #expect(measures.recall[5] == 1.0 / 3)
        #expect(measures.recall[10] == 1.0 / 3)
        #expect(measures.recall[100] == 2.0 / 3)
        #expect(measures.mrr10 == 1.0 / 3)
        let first = (2 + 1 / log2(4.0)) / (2 + 1 / log2(3.0))
        #expect(abs(measures.ndcg10 - first / 3) < 1e-12)
    }

    @Test("a percentile is a value that occurred")
    func percentiles() {
        let values = (1...100).map(Double.init)
        #expect([0.5, 0.95, 0.99, 1].map { percentile($0, of: values) } == [50, 95, 99, 100])
        #expect(percentile(0.99, of: [7]) == 7)
        #expect(percentile(0.5, of: []).isNaN)
    }

    @Test("on a terminal progress is drawn in place with rate and time left")
    func bar() {
        let start = ContinuousClock.now
        let seconds = Mutex(0)
        let screen = Screen()
        let progress = ProgressLine(total: 100, unit: "documents", terminal: screen.terminal(isWatched: true), now: { start + .seconds(seconds.withLock { $0 }) })
        for second in 1...25 {
            seconds.withLock { $0 = second }
            progress.advance()
        }
        #expect(screen.notices.hasSuffix("25/100 documents · 1.0/s · 1:15 left"))
        #expect(!screen.notices.contains("\n"))
        progress.note("skipped x")
        #expect(screen.notices.contains("skipped x\n"))
    }

    @Test("in a pipe it is a plain line for each tenth")
    func lines() {
        let screen = Screen()
        let progress = ProgressLine(total: 1_000, unit: "documents", terminal: screen.terminal())
        for _ in 0..<1_000 { progress.advance() }
        #expect(screen.notices.split(separator: "\n").count == 10)
        #expect(screen.notices.contains("1000 of 1000 documents") && !screen.notices.contains("\r"))
    }
}
