import Foundation
import Yams

/// What was set, as text, with the place it came from for messages.
struct SettingValues {
    struct Entry {
        var text: String
        /// `covey.yaml line 3`, `--gateway-address`, `COVEY_GATEWAY_ADDRESS`, or `default`.
        var origin: String
    }
    private(set) var entries: [String: Entry] = [:]

    subscript(key: String) -> Entry {
        guard let setting = Setting.named(key) else { preconditionFailure("no setting \(key)") }
        return entries[key] ?? Entry(text: setting.fallback, origin: "default")
    }

    /// Lays the flags over the environment over the file.
    init(file: String?, environment: [String: String], flags: [String]) throws {
        if let file { try read(file: file) }
        for setting in Setting.all {
            if let text = environment[setting.variable] { entries[setting.key] = Entry(text: text, origin: setting.variable) }
        }
        try read(flags: flags)
    }

    private mutating func read(flags: [String]) throws {
        var rest = flags[...]
        while let word = rest.popFirst() {
            let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
            guard let setting = Setting.all.first(where: { $0.flag == parts[0] }) else {
                throw ConfigurationError("unknown option \(parts[0])\(suggestion(for: parts[0], among: Setting.all.map(\.flag)))")
            }
            guard let text = parts.count == 2 ? parts[1] : rest.popFirst() else { throw ConfigurationError("\(setting.flag) wants a value") }
            entries[setting.key] = Entry(text: text, origin: setting.flag)
        }
    }

    private mutating func read(file: String) throws {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: file, isDirectory: &isFolder) else { throw ConfigurationError("there is no configuration file \(file)") }
        guard !isFolder.boolValue, let bytes = FileManager.default.contents(atPath: file) else {
            throw ConfigurationError("cannot read the configuration \(file): \(isFolder.boolValue ? "it is a folder" : "no permission, or the disk failed")")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw ConfigurationError("the configuration \(file) is not UTF-8 text") }
        let root: Node?
        do { root = try Yams.compose(yaml: text) } catch { throw ConfigurationError("\(file) is not YAML: \(error)") }
        guard let root, root != Node("", Tag(.null)) else { return }
        guard case .mapping(let mapping) = root else { throw ConfigurationError("\(file): expected keys and values at the top") }
        try read(mapping, under: "", file: file)
    }

    private mutating func read(_ mapping: Node.Mapping, under prefix: String, file: String) throws {
        var seen: Set<String> = []
        for (name, value) in mapping {
            let place = "\(file) line \(name.mark?.line ?? value.mark?.line ?? 0)"
            guard let part = name.string else { throw ConfigurationError("\(place): a key must be text") }
            let key = prefix + part
            guard seen.insert(part).inserted else { throw ConfigurationError("\(place): \(key) stands twice") }
            if let setting = Setting.named(key) {
                entries[key] = Entry(text: try text(of: value, for: setting, at: place), origin: place)
            } else if Setting.all.contains(where: { $0.key.hasPrefix(key + ".") }) {
                guard case .mapping(let inner) = value else { throw ConfigurationError("\(place): \(key) wants keys below it") }
                try read(inner, under: key + ".", file: file)
            } else {
                let sections = Setting.all.compactMap { $0.key.split(separator: ".").first.map(String.init) }
                throw ConfigurationError("\(place): unknown key \(key)\(suggestion(for: key, among: Setting.all.map(\.key) + sections))")
            }
        }
    }

    /// A value in the form that flags have.
    private func text(of value: Node, for setting: Setting, at place: String) throws -> String {
        switch (setting.kind, value) {
        case (.nodes, .sequence(let items)):
            return try items.map { item in
                if let text = item.string { return text }
                let field = try fields(["name", "role", "address"], optional: ["weight", "zone"], of: item, in: setting.key, at: place)
                let options = ["weight", "zone"].compactMap { name in item[name]?.string.map { ";\(name)=\($0)" } }
                return "\(field[0])=\(field[1])@\(field[2])\(options.joined())"
            }.joined(separator: ",")
        case (.keys, .sequence(let items)):
            return try items.map { item in
                if let text = item.string { return text }
                let isOperator = item["operator"]?.string == "true"
                return try fields(["tenant", "sha256"], optional: ["operator"], of: item, in: setting.key, at: place).joined(separator: ":")
                    + (isOperator ? ":operator" : "")
            }.joined(separator: ",")
        case (.words, .sequence(let items)):
            return try items.map { item in
                guard let text = item.string else { throw ConfigurationError("\(place): each of \(setting.key) wants to be text") }
                return text
            }.joined(separator: ",")
        case (_, .scalar(let scalar)):
            return value.null != nil && scalar.style == .plain ? "" : scalar.string
        default:
            throw ConfigurationError("\(place): \(setting.key) wants one value, found a list or keys")
        }
    }

    private func fields(_ names: [String], optional: [String] = [], of item: Node, in key: String, at place: String) throws -> [String] {
        guard case .mapping(let mapping) = item else { throw ConfigurationError("\(place): each of \(key) wants \(names.joined(separator: ", "))") }
        for (name, _) in mapping where !(names + optional).contains(name.string ?? "") {
            throw ConfigurationError("\(place): unknown key \(name.string ?? "?") in \(key); known: \((names + optional).joined(separator: ", "))")
        }
        return try names.map { name in
            guard let text = item[name]?.string else { throw ConfigurationError("\(place): one of \(key) has no \(name)") }
            return text
        }
    }
}

/// What is wrong with the configuration, for an operator.
struct ConfigurationError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// `; did you mean x?` if a known name is at most three edits away.
func suggestion(for word: String, among known: [String]) -> String {
    let near = known.map { ($0, editDistance(word, $0)) }.min { $0.1 < $1.1 }
    guard let near, near.1 <= 3 else { return "" }
    return "; did you mean \(near.0)?"
}

/// Levenshtein distance, O(|a| × |b|).
private func editDistance(_ a: String, _ b: String) -> Int {
    let a = Array(a.utf8), b = Array(b.utf8)
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, y) in b.enumerated() {
            let substituted = diagonal + (x == y ? 0 : 1)
            diagonal = row[j + 1]
            row[j + 1] = min(substituted, row[j] + 1, diagonal + 1)
        }
    }
    return row[b.count]
}
