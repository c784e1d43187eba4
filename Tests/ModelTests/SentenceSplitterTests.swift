import Model
import Testing

@Suite struct SentenceSplitterTests {
    private static let cases: [(text: String, sentences: [String])] = [
        ("Use oil, e.g. Whale oil. Then wait.", ["Use oil, e.g. Whale oil.", "Then wait."]),
        ("J. Smith came. He left.", ["J. Smith came.", "He left."]),
        ("Built by Dr. J. R. Voss in Leiden. It weighs 14 t.", ["Built by Dr. J. R. Voss in Leiden.", "It weighs 14 t."]),
        ("The U.S. Army came. It left.", ["The U.S. Army came.", "It left."]),
        ("It costs 3.50 Pounds. \"Really?\" She nodded!", ["It costs 3.50 Pounds.", "\"Really?\"", "She nodded!"]),
        ("“Is it?” “It is.” So be it...  Well then?!", ["“Is it?”", "“It is.”", "So be it...", "Well then?!"]),
        ("Version 2. is out. next", ["Version 2. is out. next"]),
        ("1. Install it. Start it.", ["1. Install it.", "Start it."]),
        ("See Fig. 3 there. OK", ["See Fig. 3 there.", "OK"]),
        ("灯台です。明るい。", ["灯台です。", "明るい。"]), ("「本当？」はい。", ["「本当？」", "はい。"]), ("École fermée. Été. Fin", ["École fermée.", "Été.", "Fin"]),
        ("no full stop", ["no full stop"]), ("One line\nand the next. End", ["One line\nand the next.", "End"]),
    ]

    @Test("sentences end where a reader ends them, not at abbreviations, initials and numbers", arguments: cases)
    func sentences(text: String, sentences: [String]) {
        #expect(SentenceSplitter.ranges(in: text).map { text.bytes($0) } == sentences)
        let starts = [0] + SentenceSplitter.starts(in: Array(text.utf8), 0..<text.utf8.count, markup: [])
        #expect(zip(starts, starts.dropFirst() + [text.utf8.count]).map { text.bytes($0..<$1).trimmingSpace } == sentences)
    }

    @Test(
        "blocks end sentences: empty lines, headings, items, rows and code",
        arguments: [
            ("# Title\nText goes\non\n\nNext", ["# Title", "Text goes\non", "Next"]), ("- one\n- two\n* three\n2) four", ["- one", "- two", "* three", "2) four"]),
            ("| a | b |\n| 1 | 2 |\nafter", ["| a | b |", "| 1 | 2 |", "after"]), ("Run\n```\nls -l\n```\nthen", ["Run", "```", "ls -l", "```", "then"]), ("", []), (" \n\n ", []),
        ])
    func blocks(text: String, sentences: [String]) {
        #expect(SentenceSplitter.ranges(in: text).map { text.bytes($0) } == sentences)
    }

    @Test("nothing starts inside markup")
    func markup() {
        let text = Array("See [it](http://a. B) there. Then go.".utf8)
        let link = 8..<21
        #expect(SentenceSplitter.starts(in: text, 0..<text.count, markup: [link]) == [29])
        #expect(SentenceSplitter.starts(in: text, 0..<text.count, markup: []) == [19, 29])
        #expect(SentenceSplitter.starts(in: text, 22..<text.count, markup: [link]) == [29])
    }

    @Test("what has no end is cut between words, or between characters", arguments: ["word ", "wörter", "漢"])
    func overlong(unit: String) {
        let text = String(repeating: unit, count: 1_000)
        let ranges = SentenceSplitter.ranges(in: text)
        #expect(ranges.allSatisfy { $0.count <= SentenceSplitter.maximumBytes } && ranges.dropLast().allSatisfy { $0.count > SentenceSplitter.maximumBytes / 2 })
        #expect(ranges.map { text.bytes($0) }.joined().filter { $0 != " " } == text.filter { $0 != " " })
    }
}

extension String {
    /// The text at an offset range in bytes; the bounds have to be characters' bounds.
    fileprivate func bytes(_ range: Range<Int>) -> String { String(validating: Array(utf8)[range], as: UTF8.self) ?? "not UTF-8" }
    fileprivate var trimmingSpace: String { String(self.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed()) }
}
