/// Finds the lines that pages repeat at their tops and bottoms: running heads and page numbers.
struct PageFurniture {
    private let pages: [PDFLayout.Page]

    init(_ pages: [PDFLayout.Page]) { self.pages = pages }

    /// The pages without them.
    ///
    /// A line goes if it lies in the outermost eighth of the page and its text, digits aside, stands at the same height of a third of
    /// the pages (at least three); or if it lies in the outermost 7 % and half of the pages (at least five) have a line at that height
    /// (running heads that name the section); or if it is a number alone at the very edge. A document of one page keeps everything.
    func removed() -> [PDFLayout.Page] {
        guard pages.count > 1 else { return pages }
        var texts: [Place: Int] = [:]
        var heights: [Int: Int] = [:]
        for page in pages {
            let edge = page.lines.filter { isNearEdge($0, of: page, share: 0.125) }
            for place in Set(edge.map(place)) { texts[place, default: 0] += 1 }
            for height in Set(edge.map { place($0).height }) { heights[height, default: 0] += 1 }
        }
        return pages.map { page in
            var page = page
            let (whole, all) = (page, page.lines)
            page.lines.removeAll { line in
                guard isNearEdge(line, of: whole, share: 0.125) else { return false }
                let place = place(line)
                if texts[place]! >= max(3, pages.count / 3) || (pages.count < 6 && texts[place]! == pages.count && place.text.utf8.count < 80) { return true }
                guard isNearEdge(line, of: whole, share: 0.07) || place.text == "#" else { return false }
                if heights[place.height]! >= max(5, pages.count / 2) { return true }
                return place.text == "#" && all.allSatisfy { $0.bottom <= line.bottom || $0.top >= line.top }
            }
            return page
        }
    }

    private struct Place: Hashable {
        var text: String
        /// In steps of two points, which lines of one height share though fonts differ a little.
        var height: Int
    }

    private func place(_ line: PDFLayout.Line) -> Place {
        // Roman numerals count pages as well.
        let isRoman = line.text.utf8.count <= 6 && line.text.allSatisfy { "ivxlcIVXLC".contains($0) }
        var text = ""
        for character in isRoman ? "#" : line.text where !(character.isNumber && text.hasSuffix("#")) { text.append(character.isNumber ? "#" : character) }
        return Place(text: text, height: Int(max(-1e6, min(1e6, (line.bottom / 2).rounded()))))
    }

    private func isNearEdge(_ line: PDFLayout.Line, of page: PDFLayout.Page, share: Double) -> Bool {
        line.bottom <= page.height * share || line.top >= page.height * (1 - share)
    }
}
