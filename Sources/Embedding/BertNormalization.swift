import Foundation

/// What uncased BERT makes of each scalar before words are formed: controls vanish, ideographs stand alone, accents are
/// taken off (canonical decomposition without nonspacing marks), letters become lower case.
enum BertNormalization {
    enum Class {
        case dropped
        case space
        case letter(UInt32)
        /// A punctuation mark or an ideograph: a word of its own.
        case alone(UInt32)
        /// A scalar that decomposes into several, or whose only part needs a closer look.
        case several([UInt32], isIdeograph: Bool)
    }

    static func `class`(of scalar: Unicode.Scalar) -> Class {
        guard scalar.value < 0x80 else { return table[scalar.value] ?? classify(scalar, decomposed: [scalar]) }
        switch UInt8(scalar.value) {
        case UInt8(ascii: " "), 0x09, 0x0A, 0x0D: return .space
        case 0..<0x20, 0x7F: return .dropped
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): return .letter(scalar.value + 32)
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .letter(scalar.value)
        default: return .alone(scalar.value)
        }
    }

    /// Beside Unicode's punctuation, ASCII symbols such as `$` and `^` count.
    static func isPunctuation(_ value: UInt32) -> Bool {
        if value < 0x80 { return value > 0x20 && value < 0x7F && !(0x30...0x39 ~= value || 0x61...0x7A ~= value || 0x41...0x5A ~= value) }
        guard let scalar = Unicode.Scalar(value) else { return false }
        switch scalar.properties.generalCategory {
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation, .finalPunctuation,
            .otherPunctuation:
            return true
        default: return false
        }
    }

    /// The blocks that BERT's authors treat as Chinese characters. Kana and Hangul are not among them.
    private static func isIdeograph(_ value: UInt32) -> Bool {
        switch value {
        case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F, 0x2B920...0x2CEAF,
            0xF900...0xFAFF, 0x2F800...0x2FA1F:
            true
        default: false
        }
    }

    private static func classify(_ scalar: Unicode.Scalar, decomposed: [Unicode.Scalar]) -> Class {
        guard scalar.value != 0xFFFD else { return .dropped }
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned: return .dropped
        default: break
        }
        guard !scalar.properties.isWhitespace else { return .space }
        let parts = decomposed.filter { $0.properties.generalCategory != .nonspacingMark }
            .flatMap { $0.properties.lowercaseMapping.unicodeScalars.map(\.value) }
        let isIdeograph = isIdeograph(scalar.value)
        guard parts.count == 1 else { return parts.isEmpty ? .dropped : .several(parts, isIdeograph: isIdeograph) }
        return isIdeograph || isPunctuation(parts[0]) ? .alone(parts[0]) : .letter(parts[0])
    }

    /// The class of every scalar of the planes that have decompositions, apart from ASCII, ideographs that stay
    /// themselves, and unassigned ones. Made once, in some 30 ms, when the first text needs it.
    private static let table: [UInt32: Class] = {
        let scalars = ([0x80..<0x3400, 0xA000..<0xD800, 0xF900..<0x10000, 0x10000..<0x1F000, 0x2F800..<0x2FA20] as [Range<UInt32>])
            .joined().compactMap(Unicode.Scalar.init).filter { $0.properties.generalCategory != .unassigned }
        // One call for all of them, a line each: a call for each would cost a string bridge every time.
        var lines = String.UnicodeScalarView()
        for scalar in scalars {
            lines.append(scalar)
            lines.append("\n")
        }
        let decomposed = String(lines).decomposedStringWithCanonicalMapping.unicodeScalars.split(separator: "\n")
        precondition(decomposed.count == scalars.count, "\(scalars.count) scalars decomposed into \(decomposed.count) lines")
        return Dictionary(
            uniqueKeysWithValues: zip(scalars, decomposed).map { ($0.value, classify($0, decomposed: Array($1))) })
    }()
}
