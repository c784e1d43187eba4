/// Tells what of a page belongs to its site and not to its text: navigation, search, footers.
enum HTMLFurniture {
    private static let names: Set<String> = ["nav", "footer", "form", "dialog", "menu"]
    /// Values of class, role and id that mark it.
    private static let labels: Set<String> = [
        "navigation", "nav", "navbar", "navheader", "navfooter", "nav-content", "sidebar", "sphinxsidebar", "breadcrumb", "breadcrumbs", "footer", "related",
        "toc", "table-of-contents", "tableofcontents", "menu", "mobile-nav", "pagination", "pager", "skip-link", "site-header", "site-footer",
        "page-footer", "cookie-banner", "banner", "contentinfo", "search", "complementary", "doc-toc", "local-toc", "globaltoc", "localtoc", "social", "share",
        "advertisement", "ads", "comments", "noprint", "printfooter", "mw-editsection", "catlinks", "mw-navigation",
    ]
    /// Elements of the text itself, whose ids are words of their headings, as in `<h2 id="comments">`.
    private static let textNames: Set<String> = [
        "section", "article", "h1", "h2", "h3", "h4", "h5", "h6", "p", "dl", "dt", "dd", "a", "span", "li", "table", "tr", "td", "th", "pre", "blockquote", "figure",
    ]
    /// Words in the class or role of an aside that is part of the text.
    private static let notes: Set<String> = [
        "admonition", "aside", "note", "warning", "tip", "callout", "caution", "important", "danger", "hint", "footnote", "footnotes", "topic",
    ]

    static func contains(_ element: HTMLElement, isInMain: Bool) -> Bool {
        let classes = element.classes
        if names.contains(element.name) || classes.contains(where: labels.contains) { return true }
        if classes.contains("contents"), classes.contains("topic") { return true }  // Docutils' table of contents
        if element.name == "aside" { return !isNote(classes, isInMain: isInMain) }
        // In the main part what has a furniture's id is a part about that thing.
        return !isInMain && !textNames.contains(element.name) && element.ids.contains(where: labels.contains)
    }

    /// Not shown, whatever the reader does: panels of tabs and what a heading folds up are shown on demand.
    static func isHidden(_ element: HTMLElement) -> Bool {
        if element.attributes["aria-hidden"] == "true" { return true }
        guard let hidden = element.attributes["hidden"], hidden.lowercased() != "until-found" else { return false }
        return !["tabpanel", "region"].contains(element.attributes["role"])
    }

    /// `starlight-aside--note` has three words. Beside the main part an aside that only calls itself so is a sidebar.
    private static func isNote(_ classes: [String], isInMain: Bool) -> Bool {
        classes.contains { name in
            name.split { "-_".contains($0) }.contains { notes.contains(String($0)) && (isInMain || $0 != "aside") }
        }
    }
}
