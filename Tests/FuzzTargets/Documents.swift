import Ingestion
import Model

extension FuzzTarget {
    static let documents: [FuzzTarget] = [
        document("markdown", .markdown, ["---\ntitle: a\n---\n# A *b*\n\ntext [l](http://x) `c`\n\n- i\n  - j\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```sh\nls\n```\n<!-- c -->\n::: zone\n"]),
        document("html", .html, ["<html><head><title>T</title></head><body><main><h1>A</h1><p>b <a href=x>c</a></p><ul><li>d<li>e</ul><table><tr><td>f</table><pre>g</pre></main></body></html>"]),
        document("text", .plainText, ["A\n=\n\nOne. Two?\n\n  code\n"]),
        document(
            "pdf-words", .pdf,
            ["<page width=\"612.0\" height=\"792.0\">\n<flow>\n<block xMin=\"1\" yMin=\"2\" xMax=\"3\" yMax=\"4\">\n<line xMin=\"1\" yMin=\"2\" xMax=\"3\" yMax=\"4\">\n<word xMin=\"1\" yMin=\"2\" xMax=\"3\" yMax=\"14.5\">A&amp;b</word>\n</line>\n</block>\n</flow>\n</page>\n"]),
    ]

    private static func document(_ name: String, _ format: DocumentFormat, _ seeds: [String]) -> FuzzTarget {
        FuzzTarget(name, seeds: seeds.map { Array($0.utf8) }) { bytes in
            guard let document = try? DocumentReader.structure(bytes, as: format) else { return }
            check(document)
        }
    }
}

/// What every reader promises of what it makes.
private func check(_ document: ParsedDocument) {
    precondition(String(validating: document.text, as: UTF8.self) != nil, "the text is not UTF-8")
    var end = 0
    for block in document.blocks {
        precondition(block.range.lowerBound >= end && block.range.upperBound <= document.text.count, "block \(block.range) behind \(end) of \(document.text.count)")
        end = block.range.upperBound
        for cuts in [block.cuts, block.finerCuts] {
            precondition(zip(cuts, cuts.dropFirst()).allSatisfy(<), "cuts \(cuts)")
            precondition(cuts.allSatisfy { $0 >= block.range.lowerBound && $0 <= block.range.upperBound }, "cuts \(cuts) of \(block.range)")
        }
        _ = document.embeddableText(block.range)
    }
    end = 0
    for markup in document.markup {
        precondition(markup.lowerBound >= end && markup.upperBound <= document.text.count, "markup \(markup) behind \(end)")
        end = markup.upperBound
    }
}
