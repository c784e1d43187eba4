/// JSON numbers as text, and what they are worth.
enum NumberText {
    /// A number's parts, as the scanner meets them.
    struct Scan {
        var isNegative = false
        /// The first 19 significant digits: more do not fit 64 bits.
        var mantissa: UInt64 = 0
        /// Power of ten that `mantissa` is multiplied by.
        var exponent = 0
        /// Whether digits after the nineteenth were dropped from `mantissa`.
        var isTruncated = false
        /// Whether the text has neither a fraction nor an exponent.
        var isInteger = true
    }

    /// Scans one number of RFC 8259's grammar from `position` on and moves it behind the number.
    ///
    /// - Returns: `nil` if there is no number; `position` then stands where it goes wrong.
    static func scan(_ bytes: UnsafeBufferPointer<UInt8>, from position: inout Int) -> Scan? {
        let end = bytes.count
        var scan = Scan()
        var significant = 0
        func digit(_ offset: Int) -> UInt8? {
            guard offset < end else { return nil }
            let value = unsafe bytes[offset] &- 48
            return value < 10 ? value : nil
        }
        func take(_ value: UInt8) {
            if significant < 19 {
                scan.mantissa = scan.mantissa &* 10 &+ UInt64(value)
                if scan.mantissa != 0 { significant += 1 }
            } else {
                scan.exponent += 1
                if value != 0 { scan.isTruncated = true }
            }
        }
        if position < end, unsafe bytes[position] == UInt8(ascii: "-") {
            scan.isNegative = true
            position += 1
        }
        guard let first = digit(position) else { return nil }
        take(first)
        position += 1
        if first != 0 {
            while let value = digit(position) {
                take(value)
                position += 1
            }
        }
        if position < end, unsafe bytes[position] == UInt8(ascii: ".") {
            position += 1
            scan.isInteger = false
            guard digit(position) != nil else { return nil }
            while let value = digit(position) {
                take(value)
                scan.exponent -= 1
                position += 1
            }
        }
        if position < end, unsafe bytes[position] | 0x20 == UInt8(ascii: "e") {
            position += 1
            scan.isInteger = false
            var isNegative = false
            if position < end, unsafe bytes[position] == UInt8(ascii: "-") || bytes[position] == UInt8(ascii: "+") {
                isNegative = unsafe bytes[position] == UInt8(ascii: "-")
                position += 1
            }
            guard digit(position) != nil else { return nil }
            var exponent = 0
            while let value = digit(position) {
                // Past 10^5 every double is zero or infinite: stop counting instead of overflowing.
                if exponent < 100_000 { exponent = exponent * 10 + Int(value) }
                position += 1
            }
            scan.exponent += isNegative ? -exponent : exponent
        }
        return scan
    }

    /// The number as a value: an integer if it is written as one and fits 64 bits, else the nearest double.
    static func value(_ scan: Scan, text: some Collection<UInt8>) -> JSONInput {
        if scan.isInteger, scan.exponent == 0 {
            if scan.isNegative {
                if scan.mantissa <= UInt64(Int64.max) { return .integer(-Int64(scan.mantissa)) }
                if scan.mantissa == UInt64(Int64.max) + 1 { return .integer(.min) }
            } else {
                return scan.mantissa <= UInt64(Int64.max) ? .integer(Int64(scan.mantissa)) : .unsigned(scan.mantissa)
            }
        }
        if scan.isInteger, scan.exponent == 1, let value = UInt64(String(decoding: text, as: UTF8.self)) { return .unsigned(value) }
        // Clinger's fast path: both operands are exact, so one operation rounds correctly (PLDI 1990).
        if !scan.isTruncated, scan.mantissa <= 1 << 53, abs(scan.exponent) <= 22 {
            let mantissa = Double(scan.mantissa)
            let magnitude = scan.exponent < 0 ? mantissa / powersOfTen[-scan.exponent] : mantissa * powersOfTen[scan.exponent]
            return .number(scan.isNegative ? -magnitude : magnitude)
        }
        return .number(Double(String(decoding: text, as: UTF8.self)) ?? (scan.isNegative ? -.infinity : .infinity))
    }

    /// The values of the checked text of an array of numbers.
    static func values(in text: ArraySlice<UInt8>, count: Int) -> [JSONInput] {
        var values: [JSONInput] = []
        values.reserveCapacity(count)
        forEach(in: text) { scan, range in values.append(value(scan, text: text[(text.startIndex + range.lowerBound)..<(text.startIndex + range.upperBound)])) }
        return values
    }

    private static func forEach(in text: ArraySlice<UInt8>, _ body: (Scan, Range<Int>) -> Void) {
        unsafe text.withUnsafeBufferPointer { bytes in
            var position = 0
            while position < bytes.count {
                let start = position
                if let scan = unsafe scan(bytes, from: &position) {
                    body(scan, start..<position)
                } else {
                    position += 1  // white space or a comma: the text has been checked
                }
            }
        }
    }

    /// Exact as doubles up to 10^22.
    private static let powersOfTen: [Double] = (0...22).map { Double("1e\($0)")! }
}
