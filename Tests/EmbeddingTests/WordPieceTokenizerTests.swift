import Embedding
import Foundation
import Model
import Testing

@Suite("WordPiece")
struct WordPieceTokenizerTests {
    /// A vocabulary small enough to see: ids are the positions.
    static let small = try! WordPieceTokenizer(
        vocabulary: Array("[PAD]\n[UNK]\n[CLS]\n[SEP]\nun\n##aff\n##able\naff\n##a\n,\n東\ncafe\ni\n##b\n[\n]\nsep\n$\n".utf8))

    private func ids(_ text: String) -> [Int32] { Self.small.tokens(of: text).map(\.id) }

    @Test("takes the longest piece from left to right")
    func longest() { #expect(ids("unaffable") == [4, 5, 6]) }

    @Test("makes a word unknown as a whole when its rest is in no piece")
    func unknown() { #expect(ids("unaffxable, un") == [1, 9, 4]) }

    @Test("splits at punctuation, symbols and ideographs, and takes accents and case off")
    func words() {
        #expect(ids("Un,UN") == [4, 9, 4])
        #expect(ids("un東un") == [4, 10, 4])
        #expect(ids("CAFÉ cafe\u{301} İ") == [11, 11, 12])
        #expect(ids("un$un") == [4, 17, 4])
    }

    @Test("drops controls and joins what they separated; odd spaces separate")
    func controls() {
        #expect(ids("un\u{0}aff\u{200B}able\u{FFFD}") == [4, 5, 6])
        #expect(ids("un\u{A0}un\u{3000}un\u{2028}un\r\nun") == [4, 4, 4, 4, 4])
    }

    @Test("the name of a special token in a text is plain words")
    func specialNames() { #expect(ids("[SEP]") == [14, 16, 15]) }

    @Test("a word of more than 100 scalars is unknown; one of 100 is not")
    func longWords() {
        #expect(ids("i" + String(repeating: "b", count: 99)).count == 100)
        #expect(ids("i" + String(repeating: "b", count: 100)) == [1])
    }

    @Test("the cut leaves room for the end mark, the count ignores it")
    func cut() {
        let text = String(repeating: "un ", count: 10)
        #expect(Self.small.encode(text, maximumTokens: 5) == [2, 4, 4, 4, 3])
        #expect(Self.small.encode("un", maximumTokens: 5) == [2, 4, 3])
        #expect(Self.small.count(text) == 12)
    }

    @Test("a token knows the byte where it begins", arguments: ["unaffable, Café 東un", "  \u{200B}unaffable", "é\u{301}CAFÉ, 東東"])
    func offsets(text: String) {
        let utf8 = Array(text.utf8)
        for token in Self.small.tokens(of: text) where token.id == 9 || token.id == 10 {
            #expect(utf8[token.byteOffset...].starts(with: token.id == 9 ? Array(",".utf8) : Array("東".utf8)))
        }
        let offsets = Self.small.tokens(of: text).map(\.byteOffset)
        #expect(offsets == offsets.sorted() && offsets.allSatisfy(utf8.indices.contains))
    }

    @Test("a vocabulary without a special token is refused by its name", arguments: ["[UNK]", "[CLS]", "[SEP]"])
    func missingSpecial(token: String) {
        let rest = ["[UNK]", "[CLS]", "[SEP]", "a"].filter { $0 != token }.joined(separator: "\n")
        #expect(throws: ClusterError(.invalidArgument, "vocabulary of 3 tokens has no \(token)")) {
            try WordPieceTokenizer(vocabulary: Array(rest.utf8))
        }
    }

    @Test("gives the ids of Hugging Face's tokenizers on odd texts", .enabled(if: modelIsCached, "run cluster/fetch-model"))
    func reference() throws {
        let tokenizer = try WordPieceTokenizer(vocabulary: Array(Data(contentsOf: URL(fileURLWithPath: modelDirectory + "/vocab.txt"))))
        for reference in ReferenceText.all {
            #expect(tokenizer.encode(reference.text, maximumTokens: 256) == reference.tokens, "\(reference.text)")
            #expect(tokenizer.count(reference.text) == reference.count)
        }
    }

    @Test(
        "gives the golden ids", .enabled(if: modelIsCached, "run cluster/fetch-model"),
        .enabled(if: goldenIsThere, "no ../shared/data/embedding-golden"))
    func goldenIDs() throws {
        let tokenizer = try WordPieceTokenizer(vocabulary: Array(Data(contentsOf: URL(fileURLWithPath: modelDirectory + "/vocab.txt"))))
        for golden in try goldenTexts() {
            #expect(tokenizer.encode(golden.text, maximumTokens: 256) == golden.tokens, "\(golden.text.prefix(80))")
        }
    }

    @Test("reads no more of a long text than the model sees, and counts a megabyte in linear time", .timeLimit(.minutes(10)))
    func longText() {
        let spaceless = String(repeating: "b", count: 1 << 20)
        #expect(Self.small.encode(spaceless, maximumTokens: 256) == [2, 1, 3])
        let words = String(repeating: "unaffable ", count: 100_000)
        #expect(Self.small.count(words) == 300_002)
        #expect(Self.small.encode(words, maximumTokens: 256).count == 256)
    }
}
