import Foundation
import Storage
import Testing

@Suite("segment files")
struct SegmentFileTests {
    private let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("covey-segment-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    private func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    private func bytes(_ file: SegmentFile, _ section: String) throws -> [UInt8] { try Array(file.bytes(of: section)) }

    private func writeSmallSegment(to path: String) throws {
        let writer = try SegmentWriter(path: path)
        try writer.addSection("ids", elements: [1, 2, 3] as [UInt64])
        try writer.addSection("empty", [])
        try writer.beginSection("payloads")
        try writer.append(Array("one".utf8))
        try writer.append(Array("two".utf8))
        try writer.endSection()
        _ = try writer.finish()
    }

    /// Opens and reads everything.
    private func readAll(_ path: String) throws { try SegmentFile(path: path).verify() }

    @Test("gives back what was written, each section at a multiple of 64 bytes")
    func roundTrip() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        try writeSmallSegment(to: path("a"))
        let file = try SegmentFile(path: path("a"))
        #expect(file.sections.map(\.name) == ["ids", "empty", "payloads"])
        #expect(try Array(file.elements(of: "ids", as: UInt64.self, count: 3)) == [1, 2, 3])
        #expect(try bytes(file, "empty") == [])
        #expect(try bytes(file, "payloads") == Array("onetwo".utf8))
        #expect(file.sections.allSatisfy { $0.offset % 64 == 0 })
        #expect(throws: SegmentError.missingSection(path: path("a"), section: "other")) { try file.bytes(of: "other") }
        #expect(throws: SegmentError.self) { try file.elements(of: "ids", as: UInt64.self, count: 4) }
    }

    @Test("a section larger than the writer's buffer arrives whole", arguments: [1 << 18, (1 << 18) + 1, 3 << 18, 2 << 20, (2 << 20) + 1, (7 << 20) + 5])
    func largeSection(size: Int) throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let content = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let writer = try SegmentWriter(path: path("a"))
        try writer.addSection("small", [7])
        try writer.addSection("large", content)
        let length = try writer.finish()
        let file = try SegmentFile(path: path("a"))
        #expect(file.byteCount == length)
        #expect(try bytes(file, "large") == content)
    }

    @Test("parts of any size that cross the writer's buffer arrive in order", arguments: [1, 2, 3])
    func manyParts(seed: Int) throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        var (state, content) = (seed, [UInt8]())
        let writer = try SegmentWriter(path: path("a"))
        for section in 0..<3 {
            try writer.beginSection("\(section)")
            for _ in 0..<12 {
                state = (state &* 1_103_515_245 &+ 12_345) & 0x7fff_ffff
                let part = (0..<state % (1 << (10 + state % 12))).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ state) }
                try writer.append(part)
                content += part
            }
            try writer.endSection()
        }
        _ = try writer.finish()
        let file = try SegmentFile(path: path("a"))
        #expect(try (0..<3).flatMap { try bytes(file, "\($0)") } == content)
        try file.verify()
    }

    @Test("every flipped byte is found, and named by file")
    func everyByteFlipped() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        try writeSmallSegment(to: path("a"))
        let original = try Data(contentsOf: URL(fileURLWithPath: path("a")))
        for offset in original.indices {
            var damaged = original
            damaged[offset] ^= 1 << UInt8(offset % 8)
            try damaged.write(to: URL(fileURLWithPath: path("b")))
            let error = #expect(throws: SegmentError.self, "byte \(offset)") { try readAll(path("b")) }
            #expect(error?.description.hasPrefix(path("b")) == true)
        }
    }

    @Test("every other length is found")
    func everyLength() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        try writeSmallSegment(to: path("a"))
        let original = try Data(contentsOf: URL(fileURLWithPath: path("a")))
        for length in 0..<original.count {
            try original.prefix(length).write(to: URL(fileURLWithPath: path("b")))
            #expect(throws: SegmentError.self, "\(length) bytes") { try readAll(path("b")) }
        }
        try (original + [0]).write(to: URL(fileURLWithPath: path("b")))
        #expect(throws: SegmentError.wrongLength(path: path("b"), expected: UInt64(original.count), found: UInt64(original.count + 1))) {
            try readAll(path("b"))
        }
    }

    @Test("a damaged section is named and the others are served")
    func othersAreServed() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        try writeSmallSegment(to: path("a"))
        var damaged = try Data(contentsOf: URL(fileURLWithPath: path("a")))
        let offset = try SegmentFile(path: path("a")).sections[0].offset
        damaged[offset] ^= 1
        try damaged.write(to: URL(fileURLWithPath: path("b")))
        let file = try SegmentFile(path: path("b"))
        let error = #expect(throws: SegmentError.self) { try file.bytes(of: "ids") }
        #expect(error?.description.contains("\"ids\" is damaged") == true)
        #expect(try bytes(file, "payloads") == Array("onetwo".utf8))
    }

    @Test("an unfinished file is removed with its writer")
    func unfinished() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        do {
            let writer = try SegmentWriter(path: path("a"))
            try writer.addSection("ids", [1])
        }
        #expect(!FileManager.default.fileExists(atPath: path("a")))
    }

    @Test("a missing file is a system error that names it")
    func missing() {
        let error = #expect(throws: SegmentError.self) { try SegmentFile(path: path("none")) }
        #expect(error?.description.contains("none: open failed") == true)
    }
}
