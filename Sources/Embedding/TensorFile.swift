import Foundation
import Model

/// A safetensors file, mapped into memory.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 8 | length N of the header, little-endian |
/// | 8 | N | header: JSON, tensor name → `{"dtype", "shape", "data_offsets": [begin, end]}`, offsets after the header |
/// | 8 + N | | the tensors, row-major, little-endian |
///
/// Nothing in the file is trusted: every tensor is checked against the file before a byte of it is read.
package struct TensorFile: Sendable {
    /// Beyond this a header is damaged: 100 tensors need 12 KB.
    private static let maximumHeaderBytes = 16 << 20

    private let path: String
    private let data: Data
    private let tensors: [String: JSONValue]
    private let firstTensorByte: Int

    /// - Throws: `notFound` when there is no such file, `dataLoss` when it is not a safetensors file.
    package init(path: String) throws(ClusterError) {
        self.path = path
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
        } catch {
            throw ClusterError(.notFound, "\(path): \(error.localizedDescription)")
        }
        guard data.count >= 8 else { throw ClusterError(.dataLoss, "\(path): \(data.count) bytes, a safetensors file has at least 8") }
        let headerBytes = data.prefix(8).reversed().reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
        let limit = min(data.count - 8, Self.maximumHeaderBytes)
        guard headerBytes <= UInt64(limit) else {
            throw ClusterError(.dataLoss, "\(path): header of \(headerBytes) bytes, at most \(limit) are possible")
        }
        firstTensorByte = 8 + Int(headerBytes)
        let header: JSONValue
        do {
            header = try JSONValue(parsing: data[8..<firstTensorByte])
        } catch {
            throw ClusterError(.dataLoss, "\(path): header: \(error.message)")
        }
        guard let tensors = header.object else { throw ClusterError(.dataLoss, "\(path): header is not a JSON object") }
        self.tensors = tensors
    }

    /// One float32 matrix or vector of the file.
    package struct Tensor: Sendable {
        package let shape: [Int]
        fileprivate let data: Data
        fileprivate let range: Range<Int>

        /// Copies `output.count` elements from the element at `start` on.
        package func copy(from start: Int, to output: UnsafeMutableBufferPointer<Float>) {
            let first = range.lowerBound + start * 4
            precondition(start >= 0 && first + output.count * 4 <= range.upperBound, "elements \(start)... of \(shape)")
            unsafe data.withUnsafeBytes { bytes in
                unsafe UnsafeMutableRawBufferPointer(output)
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[first..<first + output.count * 4]))
            }
        }

        /// All elements.
        package func elements() -> [Float] {
            unsafe Array(unsafeUninitializedCapacity: shape.reduce(1, *)) { buffer, count in
                count = shape.reduce(1, *)
                unsafe copy(from: 0, to: UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
            }
        }
    }

    /// The tensor of that name, checked to be float32 of `shape` and to lie inside the file.
    ///
    /// - Throws: `dataLoss` that names the tensor, what was expected and what was found.
    package func tensor(_ name: String, shape expected: [Int]) throws(ClusterError) -> Tensor {
        func damaged(_ reason: String) -> ClusterError { ClusterError(.dataLoss, "\(path): tensor \(name): \(reason)") }
        guard let entry = tensors[name] else { throw damaged("missing") }
        guard entry["dtype"]?.string == "F32" else {
            throw damaged("expected dtype F32, found \(entry["dtype"]?.string ?? "none")")
        }
        let shape = entry["shape"]?.array?.map { $0.integer ?? -1 } ?? []
        guard shape == expected.map(Int64.init) else { throw damaged("expected shape \(expected), found \(shape)") }
        let offsets = entry["data_offsets"]?.array?.map { $0.integer ?? -1 } ?? []
        let byteCount = expected.reduce(4, *)
        let available = data.count - firstTensorByte
        guard offsets.count == 2, offsets[0] >= 0, offsets[0] <= offsets[1], offsets[1] <= Int64(available) else {
            throw damaged("expected two offsets in 0...\(available), found \(offsets)")
        }
        guard offsets[1] - offsets[0] == Int64(byteCount) else {
            throw damaged("expected \(byteCount) bytes, found \(offsets[1] - offsets[0])")
        }
        let begin = firstTensorByte + Int(offsets[0])
        return Tensor(shape: expected, data: data, range: begin..<begin + byteCount)
    }
}
