import Model

/// The parts of an Office Open XML file (ECMA-376): a ZIP archive whose parts point at each other by relationships.
struct OfficePackage {
    let archive: ZipArchive

    /// - Throws: what ``ZipArchive`` throws; `invalidArgument` naming what an encrypted or older file is.
    init(_ bytes: [UInt8], maximumBytes: Int) throws(ClusterError) {
        if let kind = CompoundFile.kind(of: bytes) {
            throw ClusterError(.invalidArgument, kind == .encryptedPackage ? "the document is encrypted with a password" : "it is \(kind.rawValue) under another name")
        }
        archive = try ZipArchive(bytes, maximumBytes: maximumBytes)
    }

    struct Relation {
        /// The last part of the type's URI: `worksheet`, `slide`, `notesSlide`.
        var type: String
        /// A part's name in the archive.
        var target: String
    }

    /// What `part` points at within the package, by relationship id.
    func relations(of part: String) throws(ClusterError) -> [String: Relation] {
        let slash = part.lastIndex(of: "/").map { part.index(after: $0) } ?? part.startIndex
        let (folder, name) = (part[..<slash], part[slash...])
        let file = "\(folder)_rels/\(name).rels"
        guard archive.has(file) else { return [:] }
        var relations: [String: Relation] = [:]
        try read(file) { event in
            guard case .open("Relationship", let attributes) = event, attributes["TargetMode"] != "External",
                let id = attributes["Id"], let target = attributes["Target"]
            else { return }
            let type = attributes["Type"]?.split(separator: "/").last.map(String.init) ?? ""
            relations[id] = Relation(type: type, target: Self.resolved(target, in: String(folder)))
        }
        return relations
    }

    /// The part that the package is about, such as `xl/workbook.xml`.
    func mainPart() throws(ClusterError) -> String {
        guard let main = try relations(of: "").values.first(where: { $0.type == "officeDocument" }), archive.has(main.target) else {
            throw ClusterError(.invalidArgument, "the archive is no Office document: it names no main part")
        }
        return main.target
    }

    /// `dc:title` of the document's properties.
    func title() -> String? {
        guard archive.has("docProps/core.xml") else { return nil }
        var (title, isTitle) = ("", false)
        do throws(ClusterError) {
            try read("docProps/core.xml") { event in
                switch event {
                case .open(let name, _): isTitle = name == "title"
                case .close: isTitle = false
                case .text(let text): if isTitle { title += text }
                }
            }
        } catch { return nil }  // damaged properties are no reason to lose the document
        return title.allSatisfy(\.isWhitespace) ? nil : title
    }

    func read(_ part: String, _ visit: (XMLEvents.Event) throws(ClusterError) -> Void) throws(ClusterError) {
        try XMLEvents.read(try archive.content(of: part), part: part, visit)
    }

    private static func resolved(_ target: String, in folder: String) -> String {
        if target.hasPrefix("/") { return String(target.dropFirst()) }
        var parts = folder.split(separator: "/")
        for part in target.split(separator: "/") {
            if part == ".." { _ = parts.popLast() } else if part != "." { parts.append(part) }
        }
        return parts.joined(separator: "/")
    }
}

/// Files of OLE's compound format: Office before 2007, and what holds an encrypted newer one.
enum CompoundFile {
    enum Kind: String {
        case word = "a Word document of before 2007"
        case excel = "an Excel workbook of before 2007"
        case powerPoint = "a PowerPoint presentation of before 2007"
        case encryptedPackage = "an encrypted Office document"
        case message = "an Outlook message"
        case other = "an old Office document"
    }

    /// `nil` if it is no compound file. The names of streams stand in its directory as UTF-16, each in an entry of 128 bytes.
    static func kind(of bytes: [UInt8]) -> Kind? {
        guard bytes.starts(with: [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1]) else { return nil }
        func has(_ stream: String) -> Bool { bytes.firstRange(of: stream.utf16.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] } + [0, 0]) != nil }
        if has("EncryptedPackage") { return .encryptedPackage }
        if has("WordDocument") { return .word }
        if has("PowerPoint Document") { return .powerPoint }
        if has("__properties_version1.0") { return .message }
        return has("Workbook") || has("Book") ? .excel : .other
    }

    /// Whether a Word document's first record says that the text is encrypted: flag 0x0100 of the FIB ([MS-DOC], 2.5.2).
    static func isEncryptedWord(_ bytes: [UInt8]) -> Bool {
        for sector in stride(from: 512, to: min(bytes.count - 12, 1 << 20), by: 512) where bytes[sector] == 0xec && bytes[sector + 1] == 0xa5 {
            return bytes[sector + 11] & 1 != 0
        }
        return false
    }
}
