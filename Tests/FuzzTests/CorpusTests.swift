import Foundation
import FuzzTargets
import Testing

/// What fuzzing has found worth keeping, and every input that crashed once: `cluster/fuzz`.
@Suite struct CorpusTests {
    static let corpus = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "FuzzCorpus")

    @Test("no input of the corpus crashes its parser", arguments: FuzzTarget.all.map(\.name))
    func replay(name: String) throws {
        let target = try #require(FuzzTarget.named(name))
        let folder = Self.corpus.appending(path: name)
        let files = (try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)) ?? []
        #expect(!files.isEmpty, "there is no corpus of \(name)")
        for file in files { target.run(Array(try Data(contentsOf: file))) }
    }

    @Test("sound inputs, each byte changed and each length cut, crash no parser", arguments: FuzzTarget.all.map(\.name))
    func damage(name: String) throws {
        let target = try #require(FuzzTarget.named(name))
        let seeds = target.seeds()
        #expect(!seeds.isEmpty && seeds.allSatisfy { !$0.isEmpty })
        for seed in seeds {
            target.run(seed)
            // Segments take a moment each; the tests of `VectorIndex` go through all of one.
            let step = max(1, seed.count / 2_000)
            for place in stride(from: 0, to: seed.count, by: step) {
                var changed = seed
                changed[place] ^= UInt8(1 << (place % 8))
                target.run(changed)
                target.run(Array(seed[..<place]))
            }
        }
    }
}
