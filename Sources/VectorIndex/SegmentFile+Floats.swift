import Storage

extension SegmentFile {
    /// A section of floats all of which are what they have to be, so that a file that is wrong in spite of its checksums is refused and does
    /// not quietly find less.
    ///
    /// - Parameter what: Words for `isSound`, for the error.
    /// - Throws: also `malformedSection` naming the first element that is not.
    /// - Complexity: O(`count`).
    func floats(
        of name: String, count: Int, _ what: StaticString, _ isSound: (Float) -> Bool
    ) throws(SegmentError) -> UnsafeBufferPointer<Float> {
        let floats = try unsafe elements(of: name, as: Float.self, count: count)
        for place in 0..<count where unsafe !isSound(floats[place]) {
            throw .malformedSection(path: path, section: name, reason: "element \(place) is \(unsafe floats[place]), expected \(what)")
        }
        return unsafe floats
    }

    /// Scales of ``ByteVectors``.
    func scales(of name: String, count: Int) throws(SegmentError) -> UnsafeBufferPointer<Float> {
        try unsafe floats(of: name + IndexSection.scales, count: count, "a finite number from 0 on") { $0 >= 0 && $0.isFinite }
    }

    /// b of each vector, see ``Tier``; infinite where the square of a huge vector's length is.
    func biases(of name: String, count: Int) throws(SegmentError) -> UnsafeBufferPointer<Float> {
        try unsafe floats(of: name + IndexSection.biases, count: count, "a number") { !$0.isNaN }
    }
}
