import Glibc

/// Vectors of a file, all of the same dimension.
package struct BenchVectors: Sendable {
    /// Row-major `[count, dimension]`.
    package var elements: [Float]
    package let dimension: Int
    package var count: Int { elements.count / dimension }
}

/// What is wrong with a file of vectors: where and what.
package struct BenchFileError: Error, Hashable, Sendable, CustomStringConvertible {
    package let path: String
    /// Of the byte where the trouble begins.
    package let offset: Int
    package let reason: String
    package var description: String { "\(path), offset \(offset): \(reason)" }
}

/// A mapped file of a vector benchmark.
///
/// | format | content, little-endian |
/// | --- | --- |
/// | `.fvecs` | for each vector an Int32 dimension, then as many Float32 |
/// | `.f16bin` | UInt32 count, UInt32 dimension, then count · dimension Float16 |
/// | `.ivecs` | as `.fvecs` with Int32 elements |
@safe package final class BenchVectorFile: Sendable {
    private enum Format: String {
        case fvecs, f16bin, ivecs
    }
    package let path: String
    package let count: Int
    package let dimension: Int
    private let format: Format
    private nonisolated(unsafe) let mapping: UnsafeRawBufferPointer

    /// Maps a `.fvecs` or `.f16bin`, by the name's ending, and checks its length.
    ///
    /// - Throws: ``BenchFileError`` for a file that cannot be read, an unknown ending, a length that does not fit, and a dimension
    ///   outside 1…65,535.
    package convenience init(_ path: String) throws(BenchFileError) {
        guard let format = [Format.fvecs, .f16bin].first(where: { path.hasSuffix(".\($0.rawValue)") }) else {
            throw BenchFileError(path: path, offset: 0, reason: "the name must end in .fvecs or .f16bin")
        }
        try self.init(path, format)
    }

    private init(_ path: String, _ format: Format) throws(BenchFileError) {
        self.path = path
        self.format = format
        unsafe mapping = try unsafe Self.map(path)
        do throws(BenchFileError) { (count, dimension) = try unsafe Self.shape(mapping, format, path) } catch {
            unsafe munmap(UnsafeMutableRawPointer(mutating: mapping.baseAddress), mapping.count)
            throw error
        }
    }

    deinit { unsafe munmap(UnsafeMutableRawPointer(mutating: mapping.baseAddress), mapping.count) }

    /// Reads a whole `.fvecs` or `.f16bin`.
    ///
    /// - Throws: What ``init(_:)`` and ``copy(_:to:)`` throw.
    package static func floats(_ path: String) throws(BenchFileError) -> BenchVectors {
        let file = try BenchVectorFile(path)
        var vectors = BenchVectors(elements: [], dimension: file.dimension)
        vectors.elements.reserveCapacity(file.count * file.dimension)
        var vector = [Float](repeating: 0, count: file.dimension)
        for row in 0..<file.count {
            try file.copy(row, to: &vector)
            vectors.elements += vector
        }
        return vectors
    }

    /// Reads `.ivecs`: row numbers, `[count][dimension]`.
    package static func rows(_ path: String) throws(BenchFileError) -> [[Int]] {
        guard path.hasSuffix(".ivecs") else { throw BenchFileError(path: path, offset: 0, reason: "the name must end in .ivecs") }
        let file = try BenchVectorFile(path, .ivecs)
        return try (0..<file.count).map { row throws(BenchFileError) in
            let start = try file.start(ofRecord: row)
            return (0..<file.dimension).map { Int(unsafe file.mapping.loadUnaligned(fromByteOffset: start + 4 * $0, as: Int32.self)) }
        }
    }

    /// Reads a vector.
    ///
    /// - Parameter vector: Output, `[dimension]`.
    /// - Throws: ``BenchFileError`` for a dimension that changes and an element that is no finite number.
    package func copy(_ row: Int, to vector: inout [Float]) throws(BenchFileError) {
        let start = format == .f16bin ? 8 + 2 * row * dimension : try start(ofRecord: row)
        let width = format == .f16bin ? 2 : 4
        for element in 0..<dimension {
            let offset = start + width * element
            let value = unsafe format == .f16bin
                ? Float(mapping.loadUnaligned(fromByteOffset: offset, as: Float16.self)) : mapping.loadUnaligned(fromByteOffset: offset, as: Float.self)
            guard value.isFinite else { throw BenchFileError(path: path, offset: offset, reason: "element \(element) of vector \(row) is \(value)") }
            vector[element] = value
        }
    }

    /// Where the elements begin of a record that says its own dimension.
    private func start(ofRecord row: Int) throws(BenchFileError) -> Int {
        let start = row * (4 + 4 * dimension)
        let found = unsafe Int(mapping.loadUnaligned(fromByteOffset: start, as: Int32.self))
        guard found == dimension else { throw BenchFileError(path: path, offset: start, reason: "expected dimension \(dimension), found \(found)") }
        return start + 4
    }

    private static let maximumDimension = 65_535

    private static func shape(
        _ bytes: UnsafeRawBufferPointer, _ format: Format, _ path: String
    ) throws(BenchFileError) -> (count: Int, dimension: Int) {
        func word(_ offset: Int) -> UInt32 { unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
        func checked(_ dimension: Int, at offset: Int) throws(BenchFileError) -> Int {
            guard (1...maximumDimension).contains(dimension) else {
                throw BenchFileError(path: path, offset: offset, reason: "dimension must be 1…\(maximumDimension), found \(dimension)")
            }
            return dimension
        }
        guard format == .f16bin else {
            guard bytes.count >= 4 else { throw BenchFileError(path: path, offset: 0, reason: "expected a vector, found \(bytes.count) bytes") }
            let dimension = try checked(Int(Int32(bitPattern: word(0))), at: 0)
            let (count, rest) = bytes.count.quotientAndRemainder(dividingBy: 4 + 4 * dimension)
            guard rest == 0 else {
                throw BenchFileError(
                    path: path, offset: bytes.count - rest, reason: "expected vectors of \(4 + 4 * dimension) bytes, found \(rest) bytes at the end")
            }
            return (count, dimension)
        }
        guard bytes.count >= 8 else { throw BenchFileError(path: path, offset: 0, reason: "expected a header of 8 bytes, found \(bytes.count)") }
        guard word(0) > 0 else { throw BenchFileError(path: path, offset: 0, reason: "no vectors") }
        let (count, dimension) = (Int(word(0)), try checked(Int(word(4)), at: 4))
        let expected = 8 + 2 * count * dimension
        guard bytes.count == expected else {
            throw BenchFileError(
                path: path, offset: min(bytes.count, expected),
                reason: "\(count) vectors of dimension \(dimension) need \(expected) bytes, found \(bytes.count)")
        }
        return (count, dimension)
    }

    private static func map(_ path: String) throws(BenchFileError) -> UnsafeRawBufferPointer {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw BenchFileError(path: path, offset: 0, reason: "cannot be opened (error \(errno))") }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw BenchFileError(path: path, offset: 0, reason: "is not a file")
        }
        // A mapping has at least one byte.
        guard status.st_size > 0 else { return unsafe UnsafeRawBufferPointer(start: nil, count: 0) }
        guard let address = unsafe mmap(nil, Int(status.st_size), PROT_READ, MAP_SHARED, descriptor, 0), unsafe address != MAP_FAILED else {
            throw BenchFileError(path: path, offset: 0, reason: "cannot be mapped (error \(errno))")
        }
        return unsafe UnsafeRawBufferPointer(start: address, count: Int(status.st_size))
    }
}
