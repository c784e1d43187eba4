import Embedding
import Foundation
import Model
import Testing

@Suite("safetensors")
struct TensorFileTests {
    private static let header = #"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"F16","shape":[2],"data_offsets":[16,20]}}"#

    private static func bytes(header: String = header, tensorBytes: Int = 20) -> [UInt8] {
        let header = Array(header.utf8)
        let length = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> ($0 * 8)) }
        var floats: [UInt8] = []
        for value in [1, 2, 3, 4] as [Float] { withUnsafeBytes(of: value) { floats += $0 } }
        return length + header + (floats + [0, 0, 0, 0]).prefix(tensorBytes)
    }

    /// Opens a file of those bytes; it may be deleted once it is mapped.
    private func open(_ bytes: [UInt8]) throws -> TensorFile {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("covey-tensors-\(UUID().uuidString)")
        try Data(bytes).write(to: path)
        defer { try? FileManager.default.removeItem(at: path) }
        return try TensorFile(path: path.path)
    }

    @Test("reads a tensor")
    func reads() throws { #expect(try open(Self.bytes()).tensor("a", shape: [2, 2]).elements() == [1, 2, 3, 4]) }

    @Test("names the tensor, what was expected and what was found")
    func errors() throws {
        func message(_ file: TensorFile, _ name: String, _ shape: [Int]) -> String? {
            do {
                _ = try file.tensor(name, shape: shape)
                return nil
            } catch {
                #expect(error.code == .dataLoss)
                return error.message.split(separator: ": ", maxSplits: 1).last.map(String.init)
            }
        }
        let file = try open(Self.bytes())
        #expect(message(file, "c", [1]) == "tensor c: missing")
        #expect(message(file, "a", [4]) == "tensor a: expected shape [4], found [2, 2]")
        #expect(message(file, "b", [2]) == "tensor b: expected dtype F32, found F16")
        #expect(message(try open(Self.bytes(tensorBytes: 15)), "a", [2, 2]) == "tensor a: expected two offsets in 0...15, found [0, 16]")
        let short = Self.header.replacingOccurrences(of: "[0,16]", with: "[0,12]")
        #expect(message(try open(Self.bytes(header: short)), "a", [2, 2]) == "tensor a: expected 16 bytes, found 12")
    }

    @Test("a header length beyond the file is an error", arguments: [141, 1 << 40, .max] as [UInt64])
    func headerLength(length: UInt64) {
        let bytes = (0..<8).map { UInt8(truncatingIfNeeded: length >> ($0 * 8)) } + Self.bytes().dropFirst(8).prefix(140)
        #expect(throws: ClusterError.self) { try open(bytes) }
    }

    @Test("every byte of the header changed in four ways, and every shorter file: an error or the right values")
    func damage() throws {
        let whole = Self.bytes()
        func survives(_ bytes: [UInt8]) {
            guard let elements = try? open(bytes).tensor("a", shape: [2, 2]).elements() else { return }
            #expect(elements.count == 4)
        }
        for index in 0..<whole.count - 20 {
            for mask in [0x01, 0x10, 0x80, 0xFF] as [UInt8] {
                var damaged = whole
                damaged[index] ^= mask
                survives(damaged)
            }
        }
        for length in 0..<whole.count { survives(Array(whole.prefix(length))) }
    }

    @Test("a missing file is not found, by its path")
    func missing() {
        #expect { try TensorFile(path: "/nonexistent/model") } throws: { error in
            (error as? ClusterError)?.code == .notFound && "\(error)".contains("/nonexistent/model")
        }
    }
}
