import Model

/// Reads an Excel workbook (SpreadsheetML): each sheet is a section, each row a line with ` | ` between its cells.
///
/// Cells are what a reader sees as far as the file says it: shared strings, cached results of formulas, dates as ISO 8601. Text boxes and
/// notes on cells come behind the rows. Hidden sheets are read too; charts are not.
struct WorkbookReader {
    private let package: OfficePackage
    private var strings: [String] = []
    /// Whether numbers of a cell's style are days since the epoch.
    private var isDate: [Bool] = []
    private var daysBefore1970 = 25_569

    static func read(_ bytes: [UInt8], maximumBytes: Int) throws(ClusterError) -> ParsedDocument {
        var reader = WorkbookReader(package: try OfficePackage(bytes, maximumBytes: maximumBytes))
        return try reader.document()
    }

    private init(package: OfficePackage) { self.package = package }

    private mutating func document() throws(ClusterError) -> ParsedDocument {
        let main = try package.mainPart()
        let relations = try package.relations(of: main)
        for relation in relations.values where package.archive.has(relation.target) {
            if relation.type == "sharedStrings" { strings = try sharedStrings(relation.target) }
            if relation.type == "styles" { isDate = try dateStyles(relation.target) }
        }
        var sheets: [(name: String, part: String)] = []
        var is1904 = false
        try package.read(main) { event in
            if case .open("workbookPr", let attributes) = event, ["1", "true"].contains(attributes["date1904"]) { is1904 = true }
            guard case .open("sheet", let attributes) = event, let relation = attributes["r:id"].flatMap({ relations[$0] }), relation.type == "worksheet" else { return }
            sheets.append((attributes["name"] ?? "", relation.target))
        }
        if is1904 { daysBefore1970 = 24_107 }
        var writer = DocumentWriter()
        for (index, sheet) in sheets.enumerated() {
            let rows = try rows(sheet.part)
            let relations = try package.relations(of: sheet.part).values.filter { package.archive.has($0.target) }
            let boxes = try relations.first { $0.type == "drawing" }.map { relation throws(ClusterError) in try texts(of: "p", in: relation.target) } ?? []
            let notes = try relations.first { $0.type == "comments" }.map { relation throws(ClusterError) in try texts(of: "comment", in: relation.target) } ?? []
            guard !rows.isEmpty || !boxes.isEmpty || !notes.isEmpty else { continue }
            writer.mark(.sheet, index + 1)
            writer.heading(sheet.name, level: 1)
            writer.block(.table, lines: rows)
            for box in boxes { writer.paragraph(box) }
            writer.block(.list, lines: notes)
        }
        return writer.finish(title: package.title())
    }

    private func rows(_ part: String) throws(ClusterError) -> [String] {
        var rows: [String] = []
        var cells: [String] = []
        var (type, style, value, isValue, column) = ("", 0, "", false, 0)
        try package.read(part) { event in
            switch event {
            case .open("row", _): cells = []
            case .open("c", let attributes):
                (type, style, value) = (attributes["t"] ?? "n", attributes["s"].flatMap { Int($0) } ?? 0, "")
                column = attributes["r"].map(Self.column) ?? cells.count
            case .open("v", _), .open("t", _): isValue = true
            case .close("v"), .close("t"): isValue = false
            case .open("rPh", _): isValue = false
            case .text(let text): if isValue { value += text }
            case .close("c"):
                let text = shown(value, type, style).split(whereSeparator: \.isWhitespace).joined(separator: " ")
                guard !text.isEmpty else { return }
                // Empty cells keep their place, up to a bound: a value in the last of 16,384 columns is not worth a line of bars.
                while cells.count < min(column, 256) { cells.append("") }
                cells.append(text)
            case .close("row"): if !cells.isEmpty { rows.append(cells.joined(separator: " | ")) }
            default: break
            }
        }
        return rows
    }

    /// The text of each `element` that has one, behind the cell that it refers to.
    private func texts(of element: String, in part: String) throws(ClusterError) -> [String] {
        var texts: [String] = []
        var (text, cell, isText) = ("", "", false)
        try package.read(part) { event in
            switch event {
            case .open(element, let attributes): (text, cell) = ("", attributes["ref"].map { $0 + ": " } ?? "")
            case .open("t", _): isText = true
            case .close("t"): isText = false
            case .text(let piece): if isText { text += piece }
            case .close(element):
                let line = text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
                if !line.isEmpty { texts.append(cell + line) }
            default: break
            }
        }
        return texts
    }

    private func shown(_ value: String, _ type: String, _ style: Int) -> String {
        switch type {
        case "s": return Int(value).flatMap { strings.indices.contains($0) ? strings[$0] : nil } ?? ""
        case "b": return value == "1" ? "TRUE" : "FALSE"
        case "n":
            guard let number = Double(value) else { return value }
            if isDate.indices.contains(style), isDate[style], let date = date(number) { return date }
            // Excel keeps 15 digits; what is behind them is the noise of binary fractions.
            return number == number.rounded() && abs(number) < 1e15 ? String(Int64(number)) : Self.short(value, number)
        default: return value
        }
    }

    private static func short(_ value: String, _ number: Double) -> String {
        guard value.utf8.count > 15, abs(number) < 1e9, abs(number) > 1e-5 else { return value }
        let rounded = (number * 1e10).rounded() / 1e10
        return "\(rounded)"
    }

    /// Days since 1899-12-30 (or 1904-01-01) as a date, with the time if there is one. Civil from days: Hinnant, "chrono-compatible
    /// low-level date algorithms".
    private func date(_ serial: Double) -> String? {
        guard serial >= 0, serial < 2_958_466 else { return nil }
        var (days, seconds) = (Int(serial), Int(((serial - serial.rounded(.down)) * 86_400).rounded()))
        if seconds == 86_400 { (days, seconds) = (days + 1, 0) }
        func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let time = two(seconds / 3_600) + ":" + two(seconds / 60 % 60) + (seconds % 60 == 0 ? "" : ":" + two(seconds % 60))
        if days == 0 { return time }
        let shifted = days - daysBefore1970 + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let ofEra = shifted - era * 146_097
        let year = (ofEra - ofEra / 1_460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * year + year / 4 - year / 100)
        let month = (5 * ofYear + 2) / 153
        let day = ofYear - (153 * month + 2) / 5 + 1
        let civilMonth = month < 10 ? month + 3 : month - 9
        return "\(year + era * 400 + (civilMonth <= 2 ? 1 : 0))-\(two(civilMonth))-\(two(day))" + (seconds == 0 ? "" : " " + time)
    }

    /// `C7` → 2.
    private static func column(_ reference: String) -> Int {
        reference.utf8.prefix { $0.isUpper }.prefix(3).reduce(0) { $0 * 26 + Int($1 - 64) } - 1
    }

    private func sharedStrings(_ part: String) throws(ClusterError) -> [String] {
        var strings: [String] = []
        var (text, isText, isPhonetic) = ("", false, false)
        try package.read(part) { event in
            switch event {
            case .open("si", _): text = ""
            case .open("rPh", _): isPhonetic = true
            case .close("rPh"): isPhonetic = false
            case .open("t", _): isText = !isPhonetic
            case .close("t"): isText = false
            case .text(let piece): if isText { text += piece }
            case .close("si"): strings.append(text)
            default: break
            }
        }
        return strings
    }

    /// Which cell formats show dates: the built-in numbers, and codes of their own with a letter of dates outside quotes and brackets.
    private func dateStyles(_ part: String) throws(ClusterError) -> [Bool] {
        var dates: Set<Int> = Set(14...22).union(27...36).union(45...47).union(50...58)
        var styles: [Bool] = []
        var isInFormats = false
        try package.read(part) { event in
            switch event {
            case .open("numFmt", let attributes):
                guard let id = attributes["numFmtId"].flatMap({ Int($0) }), let code = attributes["formatCode"] else { return }
                if Self.isDateCode(code) { dates.insert(id) } else { dates.remove(id) }
            case .open("cellXfs", _): isInFormats = true
            case .close("cellXfs"): isInFormats = false
            case .open("xf", let attributes): if isInFormats { styles.append(attributes["numFmtId"].flatMap { Int($0) }.map(dates.contains) ?? false) }
            default: break
            }
        }
        return styles
    }

    private static func isDateCode(_ code: String) -> Bool {
        var (isQuoted, isBracketed, isEscaped) = (false, false, false)
        for byte in code.utf8 {
            if isEscaped { isEscaped = false; continue }
            switch byte {
            case UInt8(ascii: "\\"), UInt8(ascii: "_"), UInt8(ascii: "*"): isEscaped = true
            case UInt8(ascii: "\""): isQuoted.toggle()
            case UInt8(ascii: "["): isBracketed = true
            case UInt8(ascii: "]"): isBracketed = false
            case _ where !isQuoted && !isBracketed && "ymdhsYMDHS".utf8.contains(byte): return true
            default: break
            }
        }
        return false
    }
}
