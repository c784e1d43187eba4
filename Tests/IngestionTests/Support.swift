import Foundation
import Ingestion
import Model

let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Fixtures/ingestion")

func fixture(_ name: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: fixtures.appending(path: name))) }

func parse(_ text: String, as format: DocumentFormat) async throws -> ParsedDocument {
    try await DocumentReader().read(Array(text.utf8), as: format)
}

func prepare(_ text: String, name: String, tokens: Int = 256, configuration: IngestionConfiguration = .init()) async throws -> PreparedDocument {
    try await Ingestor(embedder: WordEmbedder(maximumTokens: tokens), configuration: configuration).prepare(Array(text.utf8), name: name)
}

extension ParsedDocument {
    /// The text of each block, for comparison.
    var blockTexts: [String] { blocks.map { String(decoding: text[$0.range], as: UTF8.self) } }
    var embeddable: [String] { blocks.map { embeddableText($0.range) } }
    var headings: [String] {
        blocks.compactMap { if case .heading(let level, let title) = $0.kind { "\(level) \(title)" } else { nil } }
    }
    func texts(of kind: Block.Kind) -> [String] { blocks.filter { $0.kind == kind }.map { String(decoding: text[$0.range], as: UTF8.self) } }
}
