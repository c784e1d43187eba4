/// Reduces an English word to its stem, so that `proclaimed` and `proclaims` are one term.
///
/// Porter's algorithm with his later departures (`abli` → `able` as `bli` → `ble`, `logi` → `log`), after a table of
/// irregular verbs and plurals. Words with anything but `a–z` come back unchanged.
/// - SeeAlso: M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980.
enum Stemmer {
    /// - Parameter word: Lower case.
    /// - Complexity: O(length), for words of up to 40 letters; longer ones come back unchanged.
    static func stem(_ word: String) -> String {
        let word = irregular[word] ?? word
        let letters = Array(word.utf8)
        guard (3...40).contains(letters.count), letters.allSatisfy({ $0 >= 97 && $0 <= 122 }) else { return word }
        var stem = PorterStem(letters: letters)
        stem.reduce()
        return String(decoding: stem.letters, as: UTF8.self)
    }

    /// Base forms of irregular English verbs and plurals.
    private static let irregular: [String: String] = {
        let table = """
            be am is are was were been being;begin began begun;become became;bear bore born borne;beat beaten;bind bound;bite bit bitten;\
            bleed bled;blow blew blown;break broke broken;breed bred;bring brought;build built;burn burnt;buy bought;catch caught;\
            choose chose chosen;come came;deal dealt;dig dug;do did does done;draw drew drawn;drink drank drunk;drive drove driven;\
            eat ate eaten;fall fell fallen;feed fed;feel felt;fight fought;find found;flee fled;fly flew flown;forbid forbade forbidden;\
            forget forgot forgotten;freeze froze frozen;get got gotten;give gave given;go went gone goes;grow grew grown;hang hung;\
            have has had having;hear heard;hide hid hidden;hold held;keep kept;know knew known;lay laid;lead led;learn learnt;leave left;\
            lend lent;lie lay lain;lose lost;make made;mean meant;meet met;pay paid;ride rode ridden;ring rang rung;rise rose risen;\
            run ran;say said;see saw seen;seek sought;sell sold;send sent;shake shook shaken;shine shone;shoot shot;show shown;\
            shrink shrank shrunk;sing sang sung;sink sank sunk;sit sat;sleep slept;speak spoke spoken;spend spent;spin spun;\
            spring sprang sprung;stand stood;steal stole stolen;stick stuck;strike struck;strive strove;swear swore sworn;swim swam swum;\
            swing swung;take took taken;teach taught;tear tore torn;tell told;think thought;throw threw thrown;understand understood;\
            undergo underwent undergone;wake woke woken;wear wore worn;weave wove woven;win won;write wrote written;withdraw withdrew withdrawn;\
            man men;woman women;child children;foot feet;tooth teeth;mouse mice;goose geese;person people;life lives;wife wives;leaf leaves;\
            half halves;wolf wolves;knife knives;datum data;phenomenon phenomena;criterion criteria;medium media;bacterium bacteria;\
            analysis analyses;crisis crises;basis bases;thesis theses;nucleus nuclei;index indices;matrix matrices;vertex vertices
            """
        var forms: [String: String] = [:]
        for entry in table.split(separator: ";") {
            let words = entry.split(separator: " ")
            // The first meaning stays where two verbs share a form (`lay`).
            for form in words.dropFirst() where forms[String(form)] == nil { forms[String(form)] = String(words[0]) }
        }
        return forms
    }()
}

/// The steps of Porter's algorithm on one word.
private struct PorterStem {
    var letters: [UInt8]

    mutating func reduce() {
        removePlural()
        removePastAndGerund()
        if hasSuffix("y"), hasVowel(letters.count - 1) { letters[letters.count - 1] = UInt8(ascii: "i") }
        replaceFirst(of: Self.step2, measureAbove: 0)
        replaceFirst(of: Self.step3, measureAbove: 0)
        removeLastSuffix()
        if hasSuffix("e") {
            let measure = measure(letters.count - 1)
            if measure > 1 || (measure == 1 && !endsShort(letters.count - 1)) { letters.removeLast() }
        }
        if hasSuffix("ll"), measure(letters.count) > 1 { letters.removeLast() }
    }

    private mutating func removePlural() {
        if hasSuffix("sses") || hasSuffix("ies") {
            letters.removeLast(2)
        } else if hasSuffix("s"), !hasSuffix("ss") {
            letters.removeLast()
        }
    }

    private mutating func removePastAndGerund() {
        if hasSuffix("eed") {
            if measure(letters.count - 3) > 0 { letters.removeLast() }
            return
        }
        let length = hasSuffix("ed") ? 2 : hasSuffix("ing") ? 3 : 0
        guard length > 0, hasVowel(letters.count - length) else { return }
        letters.removeLast(length)
        if hasSuffix("at") || hasSuffix("bl") || hasSuffix("iz") {
            letters.append(UInt8(ascii: "e"))
        } else if endsDouble, let last = letters.last, !"lsz".utf8.contains(last) {
            letters.removeLast()
        } else if measure(letters.count) == 1, endsShort(letters.count) {
            letters.append(UInt8(ascii: "e"))
        }
    }

    private mutating func replaceFirst(of rules: [(suffix: String, replacement: String)], measureAbove limit: Int) {
        for rule in rules where hasSuffix(rule.suffix) {
            let length = letters.count - rule.suffix.utf8.count
            if measure(length) > limit { letters.replaceSubrange(length..., with: rule.replacement.utf8) }
            return
        }
    }

    private mutating func removeLastSuffix() {
        for suffix in Self.step4 where hasSuffix(suffix) {
            let length = letters.count - suffix.utf8.count
            if suffix == "ion", length == 0 || !"st".utf8.contains(letters[length - 1]) { return }
            if measure(length) > 1 { letters.removeSubrange(length...) }
            return
        }
    }

    private static let step2 = [
        ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("bli", "ble"), ("alli", "al"),
        ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate"), ("ator", "ate"), ("alism", "al"),
        ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"), ("aliti", "al"), ("iviti", "ive"), ("biliti", "ble"), ("logi", "log"),
    ].map { (suffix: $0.0, replacement: $0.1) }
    private static let step3 = [
        ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", ""),
    ].map { (suffix: $0.0, replacement: $0.1) }
    private static let step4 = [
        "ement", "ance", "ence", "able", "ible", "ment", "ant", "ent", "ism", "ate", "iti", "ous", "ive", "ize", "ion", "al", "er", "ic", "ou",
    ]

    private func hasSuffix(_ suffix: String) -> Bool { letters.count >= suffix.utf8.count && letters.suffix(suffix.utf8.count).elementsEqual(suffix.utf8) }

    private func isConsonant(_ index: Int) -> Bool {
        switch letters[index] {
        case UInt8(ascii: "a"), UInt8(ascii: "e"), UInt8(ascii: "i"), UInt8(ascii: "o"), UInt8(ascii: "u"): false
        case UInt8(ascii: "y"): index == 0 || !isConsonant(index - 1)
        default: true
        }
    }

    /// Porter's m: how often a vowel is followed by a consonant in the first `length` letters.
    private func measure(_ length: Int) -> Int {
        var changes = 0
        var afterVowel = false
        for index in 0..<max(0, length) {
            let consonant = isConsonant(index)
            if consonant, afterVowel { changes += 1 }
            afterVowel = !consonant
        }
        return changes
    }

    private func hasVowel(_ length: Int) -> Bool { (0..<max(0, length)).contains { !isConsonant($0) } }

    private var endsDouble: Bool {
        let count = letters.count
        return count >= 2 && letters[count - 1] == letters[count - 2] && isConsonant(count - 1)
    }

    /// Whether the first `length` letters end consonant, vowel, consonant, the last not w, x or y.
    private func endsShort(_ length: Int) -> Bool {
        guard length >= 3, isConsonant(length - 1), !isConsonant(length - 2), isConsonant(length - 3) else { return false }
        return !"wxy".utf8.contains(letters[length - 1])
    }
}
