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

/// Reads the file formats of vector benchmarks.
///
/// | format | content, little-endian |
/// | --- | --- |
/// | `.fvecs` | for each vector an Int32 dimension, then as many Float32 |
/// | `.f16bin` | UInt32 count, UInt32 dimension, then count · dimension Float16 |
/// | `.ivecs` | as `.fvecs` with Int32 elements |
package enum BenchVectorFile {
    /// Reads `.fvecs` or `.f16bin`, by the name's ending.
    ///
    /// - Throws: ``BenchFileError`` for a file that cannot be read, an unknown ending, a length that does not fit, a dimension
    ///   outside 1…65,535 or that changes, and an element that is no finite number.
    package static func floats(_ path: String) throws(BenchFileError) -> BenchVectors {
        if path.hasSuffix(".fvecs") {
            let (words, dimension) = try records(path)
            let vectors = BenchVectors(elements: words.map { Float(bitPattern: $0) }, dimension: dimension)
            try checkFinite(vectors, path) { row, element in row * (dimension + 1) * 4 + 4 + element * 4 }
            return vectors
        }
        if path.hasSuffix(".f16bin") { return try halves(path) }
        throw BenchFileError(path: path, offset: 0, reason: "the name must end in .fvecs or .f16bin")
    }

    /// Reads `.ivecs`: row numbers, `[count][dimension]`.
    package static func rows(_ path: String) throws(BenchFileError) -> [[Int]] {
        guard path.hasSuffix(".ivecs") else { throw BenchFileError(path: path, offset: 0, reason: "the name must end in .ivecs") }
        let (words, width) = try records(path)
        return stride(from: 0, to: words.count, by: width).map { start in
            words[start..<start + width].map { Int(Int32(bitPattern: $0)) }
        }
    }

    private static let maximumDimension = 65_535

    private static func records(_ path: String) throws(BenchFileError) -> (words: [UInt32], dimension: Int) {
        let bytes = try read(path)
        guard bytes.count >= 4 else { throw BenchFileError(path: path, offset: 0, reason: "expected a vector, found \(bytes.count) bytes") }
        let dimension = Int(Int32(bitPattern: word(bytes, 0)))
        try check(dimension: dimension, path: path, offset: 0)
        let recordByteCount = 4 + 4 * dimension
        guard bytes.count % recordByteCount == 0 else {
            let whole = bytes.count / recordByteCount * recordByteCount
            throw BenchFileError(
                path: path, offset: whole, reason: "expected vectors of \(recordByteCount) bytes, found \(bytes.count - whole) bytes at the end")
        }
        var words: [UInt32] = []
        words.reserveCapacity(bytes.count / recordByteCount * dimension)
        for start in stride(from: 0, to: bytes.count, by: recordByteCount) {
            let found = Int(Int32(bitPattern: word(bytes, start)))
            guard found == dimension else {
                throw BenchFileError(path: path, offset: start, reason: "expected dimension \(dimension), found \(found)")
            }
            for element in 1...dimension { words.append(word(bytes, start + 4 * element)) }
        }
        return (words, dimension)
    }

    private static func halves(_ path: String) throws(BenchFileError) -> BenchVectors {
        let bytes = try read(path)
        guard bytes.count >= 8 else { throw BenchFileError(path: path, offset: 0, reason: "expected a header of 8 bytes, found \(bytes.count)") }
        let count = Int(word(bytes, 0))
        let dimension = Int(word(bytes, 4))
        guard count > 0 else { throw BenchFileError(path: path, offset: 0, reason: "no vectors") }
        try check(dimension: dimension, path: path, offset: 4)
        let expected = 8 + 2 * count * dimension
        guard bytes.count == expected else {
            throw BenchFileError(
                path: path, offset: min(bytes.count, expected),
                reason: "\(count) vectors of dimension \(dimension) need \(expected) bytes, found \(bytes.count)")
        }
        let elements = (0..<count * dimension).map { index in
            Float(Float16(bitPattern: UInt16(bytes[8 + 2 * index]) | UInt16(bytes[9 + 2 * index]) << 8))
        }
        let vectors = BenchVectors(elements: elements, dimension: dimension)
        try checkFinite(vectors, path) { row, element in 8 + 2 * (row * dimension + element) }
        return vectors
    }

    private static func check(dimension: Int, path: String, offset: Int) throws(BenchFileError) {
        guard (1...maximumDimension).contains(dimension) else {
            throw BenchFileError(path: path, offset: offset, reason: "dimension must be 1…\(maximumDimension), found \(dimension)")
        }
    }

    private static func checkFinite(_ vectors: BenchVectors, _ path: String, offset: (Int, Int) -> Int) throws(BenchFileError) {
        guard let index = vectors.elements.firstIndex(where: { !$0.isFinite }) else { return }
        let (row, element) = index.quotientAndRemainder(dividingBy: vectors.dimension)
        throw BenchFileError(
            path: path, offset: offset(row, element), reason: "element \(element) of vector \(row) is \(vectors.elements[index])")
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        UInt32(bytes[offset]) | UInt32(bytes[offset + 1]) << 8 | UInt32(bytes[offset + 2]) << 16 | UInt32(bytes[offset + 3]) << 24
    }

    private static func read(_ path: String) throws(BenchFileError) -> [UInt8] {
        guard let file = unsafe fopen(path, "rb") else {
            throw BenchFileError(path: path, offset: 0, reason: "cannot be opened (error \(errno))")
        }
        defer { unsafe fclose(file) }
        var status = stat()
        guard unsafe fstat(fileno(file), &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw BenchFileError(path: path, offset: 0, reason: "is not a file")
        }
        let size = Int(status.st_size)
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            unsafe count = fread(buffer.baseAddress, 1, size, file)
        }
        guard bytes.count == size else {
            throw BenchFileError(path: path, offset: bytes.count, reason: "expected \(size) bytes, could read \(bytes.count)")
        }
        return bytes
    }
}
