/// The vectors of a segment to be built, wherever they lie: in memory, in mapped files, in both.
///
/// They are read three times, from several threads at once: twice in their order, the last time in that of the segment's rows.
package struct VectorSource: Sendable {
    package let count: Int
    let copy: @Sendable (_ row: Int, _ out: inout MutableSpan<Float>) -> Void

    /// - Parameter copy: Writes vector `row` of 0..<`count` to `out`, `[dimension]`.
    package init(count: Int, copy: @escaping @Sendable (_ row: Int, _ out: inout MutableSpan<Float>) -> Void) {
        self.count = count
        self.copy = copy
    }

    /// Calls `body` with each of some vectors.
    ///
    /// - Parameter buffer: Scratch, `[dimension]`.
    func forEach(_ rows: Range<Int>, buffer: inout [Float], _ body: (Span<Float>) -> Void) {
        for row in rows {
            var out = buffer.mutableSpan
            copy(row, &out)
            body(buffer.span)
        }
    }
}
