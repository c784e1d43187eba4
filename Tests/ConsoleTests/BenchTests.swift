import Console
import Foundation
import Model
import Synchronization
import Testing
import VectorIndex

/// Where data for development may lie beside the checkout.
private let data = "../shared/data"

private func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

/// Settings' lines as dictionaries.
private func lines(_ options: BenchOptions) throws -> [[String: Any]] {
    let output = Mutex("")
    try Bench(options).run(Terminal(isWatched: false, output: { text in output.withLock { $0 += text } }, notice: { _ in }))
    return try output.withLock { $0 }.split(separator: "\n").map { try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]) }
}

@Suite("bench", .serialized)
struct BenchTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("covey-bench-test-\(UUID().uuidString)")

    private func write(_ name: String, _ words: [UInt32], cut: Int = 0) throws -> String {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let bytes = words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
        let url = folder.appendingPathComponent(name)
        try Data(bytes.dropLast(cut)).write(to: url)
        return url.path
    }

    private func vectors(_ rows: [[Float]]) -> [UInt32] { rows.flatMap { [UInt32($0.count)] + $0.map(\.bitPattern) } }

    @Test("reads .fvecs, .ivecs and .f16bin")
    func reads() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let floats = try BenchVectorFile.floats(write("a.fvecs", vectors([[1, 2], [3, 4]])))
        #expect(floats.elements == [1, 2, 3, 4] && floats.dimension == 2)
        #expect(try BenchVectorFile.rows(write("a.ivecs", [3, 7, 8, 9])) == [[7, 8, 9]])
        let halves = try BenchVectorFile.floats(write("a.f16bin", [1, 2, UInt32(Float16(0.5).bitPattern) | UInt32(Float16(-2).bitPattern) << 16]))
        #expect(halves.elements == [0.5, -2])
    }

    @Test("a malformed file is named, with offset and reason")
    func malformed() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        func reason(_ name: String, _ words: [UInt32], cut: Int = 0) throws -> String {
            let path = try write(name, words, cut: cut)
            do {
                if name.hasSuffix("ivecs") { _ = try BenchVectorFile.rows(path) } else { _ = try BenchVectorFile.floats(path) }
                return "accepted"
            } catch {
                #expect(error.path == path)
                return "\(error.offset): \(error.reason)"
            }
        }
        #expect(try reason("a.fvecs", []) == "0: expected a vector, found 0 bytes")
        #expect(try reason("a.fvecs", [0]) == "0: dimension must be 1…65535, found 0")
        #expect(try reason("a.fvecs", [.max]) == "0: dimension must be 1…65535, found -1")
        #expect(try reason("a.fvecs", vectors([[1, 2], [3, 4]]), cut: 1) == "12: expected vectors of 12 bytes, found 11 bytes at the end")
        #expect(try reason("a.fvecs", [2, 0, 0, 1, 0, 0]) == "12: expected dimension 2, found 1")
        #expect(try reason("a.fvecs", vectors([[1, .nan]])) == "8: element 1 of vector 0 is nan")
        #expect(try reason("a.f16bin", [1, 2]) == "8: 1 vectors of dimension 2 need 12 bytes, found 8")
        #expect(try reason("a.f16bin", [0, 2]) == "0: no vectors")
        #expect(try reason("a.bin", [1]) == "0: the name must end in .fvecs or .f16bin")
        #expect(throws: BenchFileError.self) { try BenchVectorFile.floats("/nowhere/a.fvecs") }
    }

    @Test("files that do not fit each other are refused")
    func mismatched() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let base = try write("base.fvecs", vectors([[1, 2], [3, 4]]))
        let query = try write("query.fvecs", vectors([[1, 2]]))
        let other = try write("other.fvecs", vectors([[1, 2, 3]]))
        func message(query: String, truth: [UInt32], k: Int, instructions: String? = nil) throws -> String {
            var options = BenchOptions(base: base, query: query, truth: try write("truth.ivecs", truth), metric: .dot, k: k)
            options.instructions = instructions
            let error = #expect(throws: ClusterError.self) { try Bench(options) }
            return error?.message ?? ""
        }
        #expect(try message(query: other, truth: [1, 0], k: 1).contains("expected 2 dimensions, found 3"))
        #expect(try message(query: query, truth: [1, 0, 1, 0], k: 1).contains("expected 1 rows, one a query, found 2"))
        #expect(try message(query: query, truth: [1, 0], k: 2).contains("1 neighbours a query are fewer than k = 2"))
        #expect(try message(query: query, truth: [1, 5], k: 1).contains("names vector 5, the base has 2"))
        #expect(try message(query: query, truth: [1, 0], k: 0) == "k must be at least 1, found 0")
        #expect(try message(query: query, truth: [1, 0], k: 1, instructions: "sse9") == "instructions must be one of portable, avx2, avx512, found \"sse9\"")
    }

    @Test("benchmark: one line a setting, one of them the default, one the exact scan and one exact searches; equally near rows count as found")
    func small() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        // Rows 2i and 2i + 1 are equal; the truth names the second of each pair.
        let rows = (0..<400).map { [Float($0 / 2), 1] }
        let base = try write("base.fvecs", vectors(rows))
        let query = try write("query.fvecs", vectors([[10, 1], [50, 1]]))
        let truth = try write("truth.ivecs", [1, 21, 1, 101])
        let lines = try lines(BenchOptions(base: base, query: query, truth: truth, metric: .euclid, k: 1))
        #expect(lines.count == 3 + BenchOptions.defaultSweep.count)
        #expect(lines.count { $0["default"] as? Bool == true } == 1)
        #expect(lines.count { $0["exact"] as? Bool == true } == 1)
        #expect(lines.count { ($0["settings"] as? [String: Any])?["exact"] as? Bool == true } == 2)
        for line in lines {
            for key in ["recall", "qps", "qps_batch", "bytes_per_vector", "build_s", "build_cpu_s", "build_peak_mb", "base_mb", "peak_mb", "rescored_share", "speedup_over_exact"] {
                #expect(line[key] is NSNumber, "\(key)")
            }
            #expect(line["settings"] is [String: Any])
            #expect((line["recall"] as? Double ?? 0) == 1)
        }
    }

    @Test("measures vectors as any datatype stores them", arguments: VectorDatatype.allCases)
    func datatypes(datatype: VectorDatatype) throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        // A grid around 0, wide enough for its points to stay apart when they are rounded.
        let steps = (0..<12).map { Float($0) * 0.1 - 0.55 }
        let rows = steps.flatMap { y in steps.map { x in [x, y] } }
        let base = try write("base.fvecs", vectors(rows))
        let query = try write("query.fvecs", vectors([[-0.24, 0.46], [0.55, -0.53]]))
        let truth = try write("truth.ivecs", [1, 123, 1, 11])
        var options = BenchOptions(base: base, query: query, truth: truth, metric: .euclid, k: 1, sweep: [])
        options.datatype = datatype
        let measured = try lines(options)
        #expect(measured.count == 3)
        for line in measured {
            #expect(line["recall"] as? Double == 1)
            #expect(line["raw_bytes_per_vector"] as? Int == 2 * datatype.byteCount)
        }
        guard datatype == .uint8 else { return }
        options.metric = Metric.dot
        let products = options
        let error = #expect(throws: ClusterError.self) { try lines(products) }
        #expect(error?.message.contains("uint8") == true)
    }

    @Test(
        "the defaults reach recall 0.95 with at most 5 % rescored and codes of at most 1/8",
        .enabled(if: exists(data), "needs \(data)"),
        arguments: [
            ("ann-minilm-384/base.f16bin", "ann-minilm-384/query.fvecs", "ann-minilm-384/groundtruth.ivecs"),
            ("ann-minilm-384/base.f16bin", "ann-minilm-384/query-sentences.fvecs", "ann-minilm-384/groundtruth-sentences.ivecs"),
            ("ann-glove-50/base.fvecs", "ann-glove-50/query.fvecs", "ann-glove-50/groundtruth.ivecs"),
        ])
    func realData(base: String, query: String, truth: String) throws {
        var options = BenchOptions(base: "\(data)/\(base)", query: "\(data)/\(query)", truth: "\(data)/\(truth)", metric: .cosine, sweep: [])
        options.maximumQueries = 200  // the exact scan of all would take most of the test's time
        let byDefault = try #require(try lines(options).first { $0["default"] as? Bool == true })
        let recall = try #require(byDefault["recall"] as? Double)
        print("\(query): recall@10 \(recall), \(byDefault["speedup_over_exact"] ?? 0) times the exact scan")
        #expect(recall >= 0.95)
        #expect((byDefault["rescored_share"] as? Double ?? 1) <= 0.05)
        let (codes, raw) = (byDefault["code_bytes_per_vector"] as? Double, byDefault["raw_bytes_per_vector"] as? Double)
        #expect(try #require(codes) * 8 <= #require(raw))
    }
}
