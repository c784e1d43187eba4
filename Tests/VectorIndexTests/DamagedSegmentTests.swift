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

    /// What exact hits are made of: the vectors, and what says which of them cannot be hits.
    var exact: [[UInt8]] { parts.filter { Self.exactNames.contains($0.name) }.map(\.bytes) }
    private static let exactNames: Set = ["index.vectors", "index.inverse.norms", "index.mean", "index.lengths", "rows.bytes", "rows.scales", "rows.biases"]

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
    private typealias Shape = (count: Int, dimension: Int, metric: Metric, datatype: VectorDatatype, spills: Bool)

    private static let shapes: [Shape] = [
        (700, 17, .cosine, .float32, false), (700, 17, .dot, .float16, false), (33, 2, .euclid, .float32, false), (2_000, 50, .euclid, .float32, false),
        (1_100, 17, .cosine, .int8, false), (1_100, 17, .cosine, .float32, true),
    ]
    /// Small enough to try everything. From 1,000 rows on there is a calibration.
    private static let small: [Shape] = [
        (40, 3, .cosine, .float32, false), (30, 4, .dot, .float16, false), (30, 2, .euclid, .uint8, false), (30, 9, .cosine, .int8, false),
        (1_000, 1, .euclid, .int8, false), (40, 3, .euclid, .float32, true),
    ]

    private func built(_ shape: Shape) throws -> BuiltSegment {
        let vectors = BuiltSegment.clustered(shape.count, dimension: shape.dimension, metric: shape.metric, seed: 7)
        let whole = vectors.map { (40 * $0).rounded() }
        let numbers: [Float] = switch shape.datatype {
        case .float32, .float16: vectors
        case .int8: whole
        case .uint8: whole.map(\.magnitude)
        }
        let stored = try shape.datatype.stored(numbers)
        var parameters = IndexParameters()
        // As many lists as a few rows can have.
        if shape.spills { (parameters.spills, parameters.listSize) = (true, 8) }
        return try BuiltSegment(stored, dimension: shape.dimension, metric: shape.metric, datatype: shape.datatype, parameters: parameters)
    }

    /// What is wrong with a file, which names it.
    private func damage(of path: String) -> SegmentError? {
        do throws(SegmentError) { _ = try SegmentIndex(SegmentFile(path: path)) } catch { return error }
        return nil
    }

    @Test("every bit flipped and every length cut is noticed when the file is opened, with an error that names it", arguments: small.indices)
    func noticed(shape: Int) throws {
        let segment = try built(Self.small[shape])
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: segment.path))
        let bytes = try #require(try file.readToEnd())
        func write(_ byte: UInt8, at place: Int) throws {
            try file.seek(toOffset: UInt64(place))
            try file.write(contentsOf: [byte])
        }
        var unnoticed: [String] = []
        func expectDamage(_ words: @autoclosure () -> String) {
            if damage(of: segment.path)?.description.contains(segment.path) != true { unnoticed.append(words()) }
        }
        #expect(damage(of: segment.path) == nil)
        for place in bytes.indices {
            for bit in 0..<8 {
                try write(bytes[place] ^ UInt8(1 << bit), at: place)
                expectDamage("bit \(bit) of byte \(place)")
            }
            try write(bytes[place], at: place)
        }
        #expect(damage(of: segment.path) == nil)
        for longer in [1, 64, 4_096] {
            try file.truncate(atOffset: UInt64(bytes.count + longer))
            expectDamage("\(longer) bytes more")
        }
        for length in bytes.indices.reversed() {
            try file.truncate(atOffset: UInt64(length))
            expectDamage("cut to \(length) bytes")
        }
        #expect(unnoticed == [])
    }

    @Test("each byte changed and each section cut under right checksums is refused or searched without harm", arguments: small.indices)
    func changed(shape: Int) throws {
        let segment = try built(Self.small[shape])
        let sound = try Sections(segment.path)
        let path = segment.folder.appendingPathComponent("changed").path
        var random = SplitMix64(seed: 5)
        var scratch = SearchScratch()
        var (opened, refused) = (0, 0)
        func check(_ image: [UInt8], exactlyRight: Bool, _ words: String) throws {
            try Data(image).write(to: URL(fileURLWithPath: path))
            do throws(SegmentError) {
                let index = try SegmentIndex(SegmentFile(path: path))
                opened += 1
                try searchAll(index, segment, exactlyRight: exactlyRight, path, &random, &scratch, words)
            } catch {
                refused += 1
                #expect(error.description.contains(path), "\(error)")
            }
        }
        // Of 1,000 rows only what is not there row by row: the rest is in the smaller ones.
        for section in sound.parts.indices where sound.parts[section].bytes.count < 1_000 {
            let (name, bytes) = (sound.parts[section].name, sound.parts[section].bytes)
            var sections = sound
            for place in bytes.indices {
                sections.parts[section].bytes[place] ^= UInt8(1 << (place % 8))
                try check(sections.file, exactlyRight: sections.exact == sound.exact, "byte \(place) of \(name)")
                sections.parts[section].bytes[place] = bytes[place]
            }
            for length in bytes.indices {
                sections.parts[section].bytes = Array(bytes[..<length])
                try check(sections.file, exactlyRight: sections.exact == sound.exact, "\(name) cut to \(length)")
            }
        }
        let image = sound.file
        for place in 0..<4_096 where segment.count < 1_000 {
            var header = Array(image[..<4_096])
            header[place] ^= UInt8(1 << (place % 8))
            for byte in 60..<64 { header[byte] = 0 }
            let checksum = crc32c(header)
            for byte in 0..<4 { header[60 + byte] = UInt8(truncatingIfNeeded: checksum >> (8 * UInt32(byte))) }
            try check(header + image[4_096...], exactlyRight: true, "byte \(place) of the file")
        }
        #expect(opened > 0 && refused > 0)
    }

    @Test("a wrong file whose checksums are right is refused or searched without harm", arguments: shapes, Array(1...6) as [UInt64])
    func wrong(shape: (count: Int, dimension: Int, metric: Metric, datatype: VectorDatatype, spills: Bool), seed: UInt64) throws {
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
                    try searchAll(index, segment, exactlyRight: sections.exact == sound.exact, path, &random, &scratch, words)
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
