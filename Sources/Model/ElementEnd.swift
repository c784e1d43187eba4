import CJSONKernels

/// Finds where a JSON value ends without reading it, over any number of calls while its bytes arrive.
package struct ElementEnd: Sendable {
    private var depth = 0
    private var isInString = false
    private var isEscaped = false
    private var hasBegun = false

    package init() {}

    /// Looks at `bytes` from `position` on, which at the first call is the value's first byte.
    ///
    /// - Returns: The offset behind the value; `nil`, with the position at the end, if it may go on behind what is there, as numbers and words
    ///   may until something stands behind them.
    /// - Complexity: O(bytes looked at); between brackets, quotes and braces 64 at a time.
    package mutating func find(in bytes: [UInt8], from position: inout Int) -> Int? {
        while position < bytes.count {
            let byte = bytes[position]
            if isInString {
                if isEscaped { isEscaped = false } else if byte == UInt8(ascii: "\\") { isEscaped = true } else if byte == UInt8(ascii: "\"") {
                    isInString = false
                    if depth == 0 { return position + 1 }
                }
                position += 1
                if !isEscaped, isInString { skip(bytes, &position) }
                continue
            }
            switch byte {
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                if depth == 0 { return position }
                depth -= 1
                if depth == 0 { return position + 1 }
            case UInt8(ascii: "\""): isInString = true
            case UInt8(ascii: ","), 0x20, 0x09, 0x0a, 0x0d: if depth == 0, hasBegun { return position }
            default: break
            }
            hasBegun = true
            position += 1
            if depth > 0 { skip(bytes, &position) }
        }
        return nil
    }

    private func skip(_ bytes: [UInt8], _ position: inout Int) {
        position += unsafe bytes.withUnsafeBufferPointer { unsafe jk_plain($0.baseAddress! + position, $0.count - position) }
    }
}

extension UInt8 {
    /// White space as JSON has it.
    package var isJSONSpace: Bool { self == 0x20 || self == 0x0a || self == 0x0d || self == 0x09 }
}
