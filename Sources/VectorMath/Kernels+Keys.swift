import CVectorKernels

/// Selection among keys, such as ``RankKey``.
extension Kernels {
    /// Moves the `keep` largest of the first `count` keys to the front, in no order.
    ///
    /// - Returns: The least of them; the greatest number if there is none.
    /// - Complexity: O(`count`).
    @discardableResult
    package func keepLargest(_ keep: Int, ofFirst count: Int, in keys: inout MutableSpan<UInt64>) -> UInt64 {
        precondition(keep <= count && count <= keys.count, "\(keep) of \(count) of \(keys.count) keys")
        return unsafe keys.withUnsafeMutableBufferPointer { unsafe table.pointee.keep_largest($0.baseAddress, count, keep) }
    }

    /// The greatest key; 0 if there is none.
    package func greatest(of keys: Span<UInt64>) -> UInt64 {
        unsafe keys.withUnsafeBufferPointer { unsafe vk_greatest($0.baseAddress, $0.count) }
    }

    /// Moves the keys of at least `least` to the front, in their order, each in exchange for one that is not.
    ///
    /// - Returns: How many they are.
    package func moveToFront(_ keys: inout MutableSpan<UInt64>, atLeast least: UInt64) -> Int {
        unsafe keys.withUnsafeMutableBufferPointer { unsafe table.pointee.move_to_front($0.baseAddress, $0.count, least) }
    }

    /// Packs the keys of at least `least` to the front, in their order; those behind them are lost.
    ///
    /// - Returns: How many they are.
    package func pack(_ keys: inout MutableSpan<UInt64>, atLeast least: UInt64) -> Int {
        unsafe keys.withUnsafeMutableBufferPointer { unsafe table.pointee.copy_above($0.baseAddress, $0.count, least, $0.baseAddress) }
    }

    /// Copies the keys of at least `least`, in their order.
    ///
    /// - Parameter copy: Output, with room for all of them and 8 more.
    /// - Returns: How many they are.
    package func copy(_ keys: Span<UInt64>, atLeast least: UInt64, into copy: inout MutableSpan<UInt64>) -> Int {
        precondition(copy.count >= keys.count + 8, "room for \(copy.count) of \(keys.count) keys and 8")
        return unsafe keys.withUnsafeBufferPointer { keys in
            unsafe copy.withUnsafeMutableBufferPointer { unsafe table.pointee.copy_above(keys.baseAddress, keys.count, least, $0.baseAddress) }
        }
    }
}
