/// Builds a document from the elements and texts of an HTML tree, in the order of the walk.
struct HTMLExtractor {
    /// How much of the page is taken.
    enum Scope {
        /// What is inside `main`, `article` or an element of role `main`.
        case main
        /// The body without navigation and the like.
        case body
        /// All but scripts and the like.
        case everything
    }

    private let scope: Scope
    private var document = ParsedDocument(text: [])
    private var block: ParsedDocument.Block?
    /// How many open elements are of the main part, sections, or the page's head.
    private var mainDepth = 0
    private var sectionDepth = 0
    private var headDepth = 0
    private var headingLevel = 0
    private var preDepth = 0
    private var tableDepth = 0
    private var lists: [List] = []
    private var titleText: [UInt8]?
    private var pageTitle: [UInt8] = []
    /// White space met since the last byte of the line.
    private var owesSpace = false
    /// Where the text of an item begins, right after its bullet: a paragraph there stays on the bullet's line.
    private var itemStart = -1
    /// Whether a cell of the row was written already.
    private var hasCell = false
    /// What each open element is, the innermost last.
    private var parts: [Part] = []

    private enum Part { case main, section, other }

    private struct List {
        var isOrdered: Bool
        var count = 0
        /// Made of an item that stands in no list.
        var isImplicit = false
    }

    init(scope: Scope) { self.scope = scope }

    /// Takes one event. Returns whether to go inside an element.
    mutating func visit(_ event: HTMLTree.Event) -> Bool {
        switch event {
        case .open(let element):
            guard !isSkipped(element) else { return false }
            open(element)
            return true
        case .close(let name):
            close(name)
            return true
        case .text(let bytes):
            append(bytes)
            return true
        }
    }

    mutating func finish() -> ParsedDocument {
        endBlock()
        document.title = title()
        return document
    }

    /// The page's title; its first heading if the title only adds the site's name to it.
    private func title() -> String? {
        let page = String(decoding: pageTitle, as: UTF8.self).split(whereSeparator: \.isWhitespace).joined(separator: " ")
        var first: String?
        for case .heading(1, let heading) in document.blocks.lazy.map(\.kind) {
            first = heading
            break
        }
        guard let first, !page.isEmpty else { return page.isEmpty ? first : page }
        return page.hasPrefix(first) ? first : page
    }
}

// MARK: - What is left out

extension HTMLExtractor {
    private static let silent: Set<String> = [
        "script", "style", "noscript", "template", "svg", "annotation", "annotation-xml", "iframe", "object", "embed", "canvas", "audio", "video", "select",
        "datalist", "map", "applet", "frameset", "img", "input", "textarea", "button",
    ]

    private func isSkipped(_ element: HTMLElement) -> Bool {
        // A heading that opens what is below it is all in a button.
        if Self.silent.contains(element.name) { return element.name != "button" || headingLevel == 0 }
        if element.classes.contains("headerlink") || element.classes.contains("anchor-link") { return true }
        guard scope != .everything, element.name != "body", element.name != "html", headingLevel == 0 else { return false }
        if HTMLFurniture.isHidden(element) || HTMLFurniture.contains(element, isInMain: mainDepth > 0) { return true }
        // The header of an article or section holds its title, that of a page the site's; pandoc puts title and abstract there.
        return element.name == "header" && mainDepth == 0 && sectionDepth == 0 && element.attributes["id"] != "title-block-header"
    }
}

// MARK: - Elements

extension HTMLExtractor {
    private static let inline: Set<String> = [
        "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins", "kbd", "label", "mark", "q", "s",
        "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr", "ruby", "rb", "rt", "rp", "nobr", "button",
        // MathML
        "math", "semantics", "mrow", "mi", "mn", "mo", "ms", "mtext", "mfrac", "msqrt", "mroot", "msup", "msub", "msubsup", "mover", "munder", "munderover",
        "mstyle", "mspace", "mpadded", "mphantom", "menclose", "mmultiscripts", "mtable", "mtr", "mtd",
    ]
    private static let mainNames: Set<String> = ["main", "article"]

    private mutating func open(_ element: HTMLElement) {
        let isMain = Self.mainNames.contains(element.name) || element.attributes["role"] == "main"
        parts.append(isMain ? .main : element.name == "section" ? .section : .other)
        if parts.last == .main { mainDepth += 1 }
        if parts.last == .section { sectionDepth += 1 }
        switch element.name {
        case "head": headDepth += 1
        case "title" where pageTitle.isEmpty: titleText = []
        case "br": append(lineBreak: true)
        case "h1", "h2", "h3", "h4", "h5", "h6": openHeading(element.name)
        case "pre":
            preDepth += 1
            isInside ? newLine(finerCut: true) : endBlock()
        case "ul", "ol", "dl":
            if lists.isEmpty, tableDepth == 0 { endBlock() }
            lists.append(List(isOrdered: element.name == "ol"))
        case "li", "dt", "dd": openItem(element.name)
        case "table":
            if !isInside { endBlock() } else { newLine(finerCut: true) }
            tableDepth += 1
        case "tr":
            newLine(cut: lists.isEmpty && tableDepth == 1, finerCut: true)
            hasCell = false
        case "td", "th":
            if hasCell { append(separator: " | ") }
            hasCell = true
        default:
            guard !Self.inline.contains(element.name) else { return }
            if isInside { tableDepth > 0 ? append([0x20]) : newLine(finerCut: true) } else { endBlock() }
        }
    }

    private mutating func close(_ name: String) {
        switch parts.popLast() {
        case .main: mainDepth -= 1
        case .section: sectionDepth -= 1
        case .other, nil: break
        }
        switch name {
        case "head": headDepth -= 1
        case "title":
            if let titleText { pageTitle = titleText }
            titleText = nil
        case "h1", "h2", "h3", "h4", "h5", "h6": closeHeading()
        case "pre":
            preDepth = max(0, preDepth - 1)
            isInside ? newLine(finerCut: true) : endBlock()
        case "ul", "ol", "dl":
            _ = lists.popLast()
            if !isInside { endBlock() } else { newLine(finerCut: true) }
        case "table":
            tableDepth = max(0, tableDepth - 1)
            if !isInside { endBlock() } else { newLine(finerCut: true) }
        case "li", "dt", "dd", "tr":
            newLine()
            if name == "li", lists.last?.isImplicit == true { lists.removeLast() }
        case "td", "th", "br": break
        default:
            guard !Self.inline.contains(name) else { return }
            if isInside { tableDepth > 0 ? append([0x20]) : newLine() } else { endBlock() }
        }
    }

    /// Whether a list or table is open, which nothing inside it ends.
    private var isInside: Bool { !lists.isEmpty || tableDepth > 0 }

    private mutating func openHeading(_ name: String) {
        // A heading inside a table that lays out the page, or inside a list, opens a section all the same.
        endBlock()
        headingLevel = Int(name.utf8.last! - UInt8(ascii: "0"))
    }

    private mutating func closeHeading() {
        if let open = block, case .heading(let level, _) = open.kind {
            block?.kind = .heading(level: level, title: document.embeddableText(open.range.lowerBound..<document.text.count))
        }
        endBlock()
        headingLevel = 0
    }

    private mutating func openItem(_ name: String) {
        let isOutermost = lists.count <= 1 && tableDepth == 0
        if name == "dd" {
            newLine(finerCut: true)
            write("  ")
            itemStart = document.text.count
            return
        }
        newLine(cut: isOutermost, finerCut: true)
        guard name == "li", headingLevel == 0, isInScope else { return }
        let indent = String(repeating: "  ", count: min(max(lists.count, 1) - 1, 8))
        if lists.isEmpty { lists.append(List(isOrdered: false, isImplicit: true)) }
        lists[lists.count - 1].count += 1
        let list = lists[lists.count - 1]
        write(indent + (list.isOrdered ? "\(list.count). " : "- "))
        itemStart = document.text.count
    }
}

// MARK: - Text

extension HTMLExtractor {
    private var isInScope: Bool { scope != .main || mainDepth > 0 }

    private mutating func append(_ bytes: [UInt8]) {
        if titleText != nil {
            titleText?.append(contentsOf: bytes)
            return
        }
        guard isInScope, headDepth == 0 else { return }
        if preDepth > 0, headingLevel == 0 {
            appendCode(bytes)
            return
        }
        var offset = 0
        while offset < bytes.count {
            let byte = bytes[offset]
            // U+00A0 is a space as well.
            let isWide = byte == 0xc2 && offset + 1 < bytes.count && bytes[offset + 1] == 0xa0
            if byte.isSpace || isWide {
                owesSpace = true
            } else {
                beginBlock()
                if owesSpace, document.text.count != itemStart, let last = document.text.last, !last.isSpace, document.text.count > block!.range.lowerBound { document.text.append(0x20) }
                owesSpace = false
                document.text.append(byte)
            }
            offset += isWide ? 2 : 1
        }
    }

    private mutating func appendCode(_ bytes: [UInt8]) {
        for byte in bytes {
            if block == nil, byte == 0x0a { continue }  // a line end right after the tag
            beginBlock()
            document.text.append(byte)
            if byte == 0x0a { isInside ? block?.finerCuts.append(document.text.count) : block?.cuts.append(document.text.count) }
        }
        owesSpace = false
    }

    private mutating func append(lineBreak: Bool) {
        guard block != nil, headingLevel == 0, tableDepth == 0 else {
            owesSpace = true
            return
        }
        newLine()
    }

    private mutating func append(separator: String) {
        guard block != nil else { return }
        while let last = document.text.last, last == 0x20 { document.text.removeLast() }
        write(separator)
    }

    /// Writes marks of our own, such as bullets.
    private mutating func write(_ marks: String) {
        guard isInScope else { return }
        beginBlock()
        document.text.append(contentsOf: marks.utf8)
        owesSpace = false
    }

    private mutating func beginBlock() {
        guard block == nil else { return }
        if !document.text.isEmpty { document.text.append(contentsOf: [0x0a, 0x0a]) }
        let kind: ParsedDocument.Block.Kind =
            if headingLevel > 0 { .heading(level: headingLevel, title: "") }
            else if !lists.isEmpty { .list }
            else if tableDepth > 0 { .table }
            else if preDepth > 0 { .code }
            else { .paragraph }
        block = .init(kind, document.text.count..<document.text.count)
        owesSpace = false
    }

    /// Goes to a new line of the open block, if it has text.
    private mutating func newLine(cut: Bool = false, finerCut: Bool = false) {
        owesSpace = false
        guard let open = block, cut || document.text.count != itemStart else { return }
        while let last = document.text.last, last == 0x20, document.text.count > open.range.lowerBound { document.text.removeLast() }
        guard document.text.count > open.range.lowerBound else { return }
        if document.text.last != 0x0a { document.text.append(0x0a) }
        let offset = document.text.count
        if cut, block?.cuts.last != offset { block?.cuts.append(offset) }
        if finerCut, block?.finerCuts.last != offset { block?.finerCuts.append(offset) }
    }

    private mutating func endBlock() {
        owesSpace = false
        guard var ended = block else { return }
        block = nil
        ended.range = document.trimmed(ended.range.lowerBound..<document.text.count)
        let isEmpty = ended.range.isEmpty || (ended.kind == .list && document.text[ended.range].allSatisfy { $0 == 0x2d || $0.isSpace })
        document.text.removeLast(document.text.count - (isEmpty ? ended.range.lowerBound : ended.range.upperBound))
        guard !isEmpty else {
            while document.text.last?.isSpace == true { document.text.removeLast() }
            return
        }
        ended.cuts.removeAll { $0 <= ended.range.lowerBound || $0 >= ended.range.upperBound }
        ended.finerCuts.removeAll { $0 <= ended.range.lowerBound || $0 >= ended.range.upperBound }
        document.blocks.append(ended)
    }
}
