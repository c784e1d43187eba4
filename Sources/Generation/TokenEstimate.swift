/// How many tokens a text has for the model that will read it.
package typealias TokenCounter = @Sendable (String) -> Int

/// A tokenizer-free count that errs on the high side, for models whose tokenizer is not at hand.
package enum TokenEstimate {
    /// A token per five letters of a word begun, per digit, per other visible ASCII character, line end and
    /// indent of two, and two per character outside ASCII letters' scripts (byte-pair tokenizers split those by bytes).
    /// English text comes out some 10–30 % high.
    /// - Complexity: O(bytes).
    package static func count(_ text: String) -> Int {
        var tokens = 0
        var letters = 0
        var spaces = 0
        for scalar in text.unicodeScalars {
            let isLetter = (scalar.value | 32) >= 97 && (scalar.value | 32) <= 122
            let isDigit = scalar.value >= 48 && scalar.value <= 57
            letters = isLetter ? letters + 1 : 0
            spaces = scalar == " " || scalar == "\t" ? spaces + 1 : 0
            if isLetter {
                if letters % 5 == 1 { tokens += 1 }
            } else if isDigit {
                tokens += 1
            } else if spaces > 0 {
                // A single space belongs to the next word.
                if spaces % 2 == 0 { tokens += 1 }
            } else if scalar.value < 0x80 {
                tokens += 1
            } else if scalar.value < 0x2000 {
                tokens += 1
            } else {
                tokens += 2
            }
        }
        return tokens
    }
}
