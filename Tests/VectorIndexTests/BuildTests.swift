import Foundation
import Model
import Storage
import Synchronization
import Testing
import VectorIndex
import VectorMath

/// Vectors around random centres, row-major.
private func clustered(_ count: Int, dimension: Int, seed: UInt64) -> [Float] {
    var random = SplitMix64(seed: seed)
    let centres = (0..<30 * dimension).map { _ in Float.random(in: -3...3, using: &random) }
    return (0..<count).flatMap { row in (0..<dimension).map { centres[row % 30 * dimension + $0] + Float.random(in: -1...1, using: &random) } }
}

/// A folder that goes with the object.
private final class Folder {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("covey-build-\(UUID().uuidString)")
    init() throws { try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(at: url) }
    var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: url.path)) ?? [] }
}

@Suite("building an index")
struct BuildTests {
    @Test("the bytes do not depend on the number of threads", arguments: Metric.allCases, [(3_000, 37), (40, 3), (700, 300)])
    func threads(metric: Metric, shape: (count: Int, dimension: Int)) throws {
        let folder = try Folder()
        let vectors = clustered(shape.count, dimension: shape.dimension, seed: 3)
        let files = try [1, 2, 3, 8].map { threads in
            let path = folder.url.appendingPathComponent("\(threads)").path
            let writer = try SegmentWriter(path: path)
            var parameters = IndexParameters()
            if shape.count == 700 { parameters.spills = true }
            _ = try IndexBuilder(dimension: shape.dimension, metric: metric, parameters: parameters).build(source(vectors, shape.dimension), into: writer, threads: threads)
            _ = try writer.finish()
            return try Data(contentsOf: URL(filePath: path))
        }
        #expect(files.allSatisfy { $0 == files[0] })
    }

    @Test("progress rises from 0 to 1, and stopping at any report leaves no file", arguments: [1, 3])
    func stops(threads: Int) throws {
        let folder = try Folder()
        let vectors = clustered(2_000, dimension: 16, seed: 5)
        let path = folder.url.appendingPathComponent("segment").path
        func build(_ progress: @escaping (Double) -> Bool) throws {
            _ = try IndexBuilder(dimension: 16, metric: .euclid).build(source(vectors, 16), into: SegmentWriter(path: path), threads: threads, progress: progress)
        }
        var reports: [Double] = []
        try build {
            reports.append($0)
            return true
        }
        #expect(reports.count > 50 && reports == reports.sorted() && reports.last == 1 && reports.allSatisfy { (0...1).contains($0) })
        for last in stride(from: 0, to: reports.count, by: reports.count / 12) {
            var count = 0
            #expect(throws: SegmentError.stopped(path: path)) {
                try build { _ in
                    count += 1
                    return count <= last
                }
            }
            #expect(count == last + 1 && folder.names.isEmpty)
        }
    }

    @Test("pieces are taken in order, few are made ahead, and an error ends the work", arguments: [1, 2, 5])
    func order(threads: Int) throws {
        let work = BuildWork(threads: threads, path: "file") { _ in true }
        let made = Mutex(0)
        var taken: [Int] = []
        try work.forEach(Array(0..<500), until: 1) { piece in
            made.withLock { $0 += 1 }
            return piece
        } take: {
            #expect(made.withLock { $0 } <= taken.count + 1 + 4 * threads)
            taken.append($0)
        }
        #expect(taken == Array(0..<500))
        #expect(throws: SegmentError.notASegment(path: "7")) {
            try work.forEach(Array(0..<500), until: 1) { $0 } take: { (piece: Int) throws(SegmentError) in
                if piece == 7 { throw .notASegment(path: "7") }
            }
        }
    }

    private func trained(_ vectors: ByteVectors, count: Int, seed: UInt64 = 1) throws -> KMeans {
        var random = SplitMix64(seed: seed)
        let work = BuildWork(threads: 2, path: "file") { _ in true }
        return try KMeans(
            vectors, rows: Array(0..<UInt32(vectors.count)), count: count, iterations: 20, random: &random, work: work, until: 1)
    }

    @Test("k-means finds separate clusters, the same for the same seed", arguments: [1, 2, 3] as [UInt64])
    func kMeans(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let vectors = (0..<300).flatMap { row in (0..<5).map { _ in Float(row % 3) * 10 + Float.random(in: -1...1, using: &random) } }
        let bytes = ByteVectors(rounding: vectors, dimension: 5)
        let centroids = try trained(bytes, count: 8, seed: seed).centroids
        #expect(try trained(bytes, count: 8, seed: seed).centroids.bytes == centroids.bytes)
        let assigned = try BuildWork(threads: 1, path: "file") { _ in true }.assign(bytes, to: centroids, until: 1)
        for row in 0..<300 {
            let distances = (0..<centroids.count).map { cluster in
                zip(vectors[row * 5..<row * 5 + 5], centroids.decoded(cluster)).reduce(Float(0)) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
            }
            // Bytes of vectors up to 11 long are right within 0.05, so a nearly equal centre may be chosen.
            #expect(distances[Int(assigned[row])] <= distances.min()! + 1.5)
        }
    }

    @Test("k-means of equal vectors, and of fewer vectors than clusters")
    func degenerate() throws {
        let equal = try trained(ByteVectors(rounding: [Float](repeating: 2, count: 40), dimension: 4), count: 3).centroids
        #expect((0..<3).allSatisfy { equal.decoded($0).allSatisfy { abs($0 - 2) < 1e-5 } })
        #expect(try trained(ByteVectors(rounding: [1, 0, 0, 1], dimension: 2), count: 9).centroids.count == 2)
        #expect(try trained(ByteVectors(rounding: [0, 0], dimension: 2), count: 1).centroids.decoded(0) == [0, 0])
    }
}
