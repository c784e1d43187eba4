import Foundation
import Model
import Storage
import Testing
import VectorIndex
import VectorMath

/// A segment file taken apart, to be written anew with something wrong and every checksum right.
private struct Sections {
    var parts: [(name: String, bytes: [UInt8])]

    init(_ path: String) throws {
        let file = try SegmentFile(path: path)
        parts = try file.sections.map { (name: $0.name, bytes: Array(try file.bytes(of: $0.name))) }
    }

    /// What exact scores are made of.
    var vectors: [[UInt8]] { parts.filter { ["index.vectors", "index.inverse.norms"].contains($0.name) }.map(\.bytes) }

    /// The file that the table of ``SegmentFile`` describes.
    var file: [UInt8] {
        func padded(_ count: Int) -> Int { (count + 63) & ~63 }
        var image = [UInt8](repeating: 0, count: 4_096)
        func store(_ value: some FixedWidthInteger, at offset: Int) {
            for index in 0..<value.bitWidth / 8 { image[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index)) }
        }
        for (index, part) in parts.enumerated() {
            let entry = 64 + 64 * index
            let content = part.bytes + [UInt8](repeating: 0, count: padded(part.bytes.count) - part.bytes.count)
            image.replaceSubrange(entry..<entry + part.name.utf8.count, with: part.name.utf8)
            store(UInt64(image.count), at: entry + 32)
            store(UInt64(part.bytes.count), at: entry + 40)
            store(crc32c(content), at: entry + 48)
            image += content
        }
        image.replaceSubrange(0..<8, with: Array("COVEYSEG".utf8))
        store(UInt32(1), at: 8)
        store(UInt32(parts.count), at: 12)
        store(UInt64(image.count), at: 16)
        store(crc32c(Array(image[..<4_096])), at: 60)
        return image
    }
}

/// What a damaged file may hold where a number should be: as a count, a place, a float.
private let hostileWords: [UInt32] = [
    0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_fff0, Float.nan.bitPattern, Float.infinity.bitPattern, (-Float.infinity).bitPattern,
    Float.greatestFiniteMagnitude.bitPattern, (-Float.greatestFiniteMagnitude).bitPattern, Float.leastNonzeroMagnitude.bitPattern,
    (-Float.leastNormalMagnitude).bitPattern, (-1 as Float).bitPattern,
]

@Suite("a damaged segment")
struct DamagedSegmentTests {
    private static let shapes: [(count: Int, dimension: Int, metric: Metric, datatype: VectorDatatype)] = [
        (700, 17, .cosine, .float32), (700, 17, .dot, .float16), (33, 2, .euclid, .float32), (2_000, 50, .euclid, .float32), (1_100, 17, .cosine, .int8),
    ]

    private func built(_ shape: (count: Int, dimension: Int, metric: Metric, datatype: VectorDatatype)) throws -> BuiltSegment {
        let vectors = BuiltSegment.clustered(shape.count, dimension: shape.dimension, metric: shape.metric, seed: 7)
        let stored = try shape.datatype.stored(shape.datatype == .int8 ? vectors.map { ($0 * 100).rounded() } : vectors)
        return try BuiltSegment(stored, dimension: shape.dimension, metric: shape.metric, datatype: shape.datatype)
    }

    @Test("every flipped byte and every cut of a file is noticed when it is opened", arguments: shapes, [1, 2] as [UInt64])
    func noticed(shape: (count: Int, dimension: Int, metric: Metric, datatype: VectorDatatype), seed: UInt64) throws {
        let segment = try built(shape)
        let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: segment.path)))
        let path = segment.folder.appendingPathComponent("damaged").path
        var random = SplitMix64(seed: seed)
        func opens(_ image: [UInt8]) throws -> Bool {
            try Data(image).write(to: URL(fileURLWithPath: path))
            do throws(SegmentError) { _ = try SegmentIndex(SegmentFile(path: path)) } catch { return false }
            return true
        }
        #expect(try opens(bytes))
        for trial in 0..<150 {
            // Half of the places are in the header, which is a small part of the file.
            let place = Int(random.next() % UInt64(trial % 2 == 0 ? 4_096 : bytes.count))
            var flipped = bytes
            flipped[place] ^= UInt8(1 << (random.next() % 8))
            #expect(try !opens(flipped), "byte \(place)")
            #expect(try !opens(Array(bytes.prefix(Int(random.next() % UInt64(bytes.count))))), "seed \(seed), trial \(trial)")
        }
    }

    @Test("a wrong file whose checksums are right is refused or searched without harm", arguments: shapes, Array(1...6) as [UInt64])
    func wrong(shape: (count: Int, dimension: Int, metric: Metric, datatype: VectorDatatype), seed: UInt64) throws {
        let segment = try built(shape)
        let sound = try Sections(segment.path)
        #expect(try sound.file == [UInt8](Data(contentsOf: URL(fileURLWithPath: segment.path))))
        let path = segment.folder.appendingPathComponent("wrong").path
        var random = SplitMix64(seed: seed)
        var scratch = SearchScratch()
        var (opened, refused) = (0, 0)
        for section in sound.parts.indices {
            for trial in 0..<6 {
                var sections = sound
                Self.damage(&sections, section, &random)
                try Data(sections.file).write(to: URL(fileURLWithPath: path))
                let words = "seed \(seed), section \(sound.parts[section].name), trial \(trial)"
                do throws(SegmentError) {
                    let index = try SegmentIndex(SegmentFile(path: path))
                    opened += 1
                    try searchAll(index, segment, exactlyRight: sections.vectors == sound.vectors, path, &random, &scratch, words)
                } catch {
                    refused += 1
                    #expect(error.description.contains(path), "\(error)")
                }
            }
        }
        #expect(opened > 0 && refused > 0)
    }

    private static func damage(_ sections: inout Sections, _ section: Int, _ random: inout SplitMix64) {
        func below(_ bound: Int) -> Int { Int(random.next() % UInt64(max(1, bound))) }
        let count = sections.parts[section].bytes.count
        if count == 0 { sections.parts[section].bytes = [0] }
        guard count > 0 else { return }
        switch below(8) {
        case 0: sections.parts[section].bytes.removeLast(min(count, 1 + below(2) * below(count)))
        case 1: sections.parts[section].bytes += [UInt8](repeating: 255, count: 4 * (1 + below(40)))
        case 2: sections.parts.remove(at: section)
        case 3, 4:
            for _ in 0..<1 + below(8) { sections.parts[section].bytes[below(count)] ^= UInt8(1 << below(8)) }
        default:
            // Words where words are: one, some, or all of the section.
            let words = count / 4
            for _ in 0..<[1, 3, words][below(3)] {
                let (place, word) = (4 * below(words), hostileWords[below(hostileWords.count)])
                guard words > 0 else { return }
                for byte in 0..<4 { sections.parts[section].bytes[place + byte] = UInt8(truncatingIfNeeded: word >> (8 * UInt32(byte))) }
            }
        }
    }

    /// Whatever the file says: rows of the segment, each once, in order, the same by every instruction set.
    private func searchAll(
        _ index: SegmentIndex, _ segment: BuiltSegment, exactlyRight: Bool, _ path: String, _ random: inout SplitMix64, _ scratch: inout SearchScratch,
        _ words: String
    ) throws(SegmentError) {
        // The header's damage may have changed what the file is.
        let query = (0..<index.dimension).map { _ in Float.random(in: -1...1, using: &random) }
        var admits = RowBitmap(rowCount: index.count)
        for row in 0..<index.count where random.next() % 3 == 0 { admits.insert(row) }
        var others: [SegmentIndex] = []
        for level in Kernels.Level.allCases {
            if let kernels = Kernels(level) { others.append(try SegmentIndex(SegmentFile(path: path), kernels: kernels)) }
        }
        for (effort, bitmap) in [
            (SearchEffort(), nil), (SearchEffort(targetRecall: 0.9), nil), (SearchEffort(targetRecall: 0.99), admits), (SearchEffort(probes: 3, candidates: 20), admits), (SearchEffort(exact: true), admits), (SearchEffort(exact: true), nil),
        ] as [(SearchEffort, RowBitmap?)] {
            let result = index.hits(of: query, limit: 10, effort: effort, admits: bitmap, scratch: &scratch)
            #expect(result.hits.allSatisfy { (0..<index.count).contains($0.row) && !$0.score.isNaN && bitmap?.contains($0.row) ?? true }, "\(words)")
            #expect(Set(result.hits.map(\.row)).count == result.hits.count, "\(words)")
            #expect(zip(result.hits, result.hits.dropFirst()).allSatisfy { !index.metric.isBetter($1.score, than: $0.score) }, "\(words)")
            for other in others {
                #expect(other.hits(of: query, limit: 10, effort: effort, admits: bitmap, scratch: &scratch) == result, "\(words)")
            }
            if let row = result.hits.last?.row {
                #expect(index.trace(row, of: query, limit: 10, effort: effort, admits: bitmap, scratch: &scratch)?.step == .hit, "\(words)")
            }
            if effort.exact && exactlyRight && index.metric == segment.metric && index.datatype == segment.index.datatype {
                #expect(result.hits == segment.index.hits(of: query, limit: 10, effort: effort, admits: bitmap, scratch: &scratch).hits, "\(words)")
            }
        }
    }
}
