import Foundation

/// The documents under some paths, as a client that sends them needs to know them.
package struct DocumentFolder: Sendable {
    package struct File: Hashable, Sendable {
        /// Where to read it: the path's bytes, which need not be UTF-8.
        package var location: [UInt8]
        /// The same for people: bytes that are not UTF-8 as `\xE9`.
        package var path: String
        /// What it is called in a collection: its path relative to the folder that was given, or its own name if it was given itself.
        package var name: String
        /// Index of the folder that it was found in, in ``roots``; `nil` if it was given itself.
        package var root: Int?
    }

    package struct Problem: Hashable, Sendable {
        package var path: String
        /// A lower-case fragment.
        package var reason: String
        /// Whether something that may be a document could not be reached; else it is no document.
        package var isFailure: Bool
    }

    /// A folder that was given.
    package struct Root: Hashable, Sendable {
        /// Its real path.
        package var path: String
        /// Names of everything that is there, documents or not.
        package var names: Set<String> = []
        /// Folders, as names with a slash behind them, of which nobody knows what they hold.
        package var unknown: [String] = []

        /// Whether a document of this name may still be there.
        package func mayHold(_ name: String) -> Bool { names.contains(name) || unknown.contains { name.hasPrefix($0) } }
    }

    /// In ascending order of the names' bytes; no two have one name.
    package private(set) var files: [File] = []
    /// What cannot be read, files whose name another has, and what is no file.
    package private(set) var problems: [Problem] = []
    /// Paths of files in folders that are of no supported format.
    package private(set) var unsupported: [String] = []
    package private(set) var roots: [Root] = []

    private var names: [String: String] = [:]
    /// Device and inode of the folders visited, so that a link that leads back ends the walk.
    private var visited: Set<[UInt64]> = []
    private let followsLinks: Bool

    /// Walks `paths` and what is in them. Hidden files and folders are left out. Links within a folder are followed, each folder is
    /// entered once; those that lead out of it only with `followsLinks`. Pipes, devices and sockets are never opened.
    ///
    /// A file that was given itself is listed whatever its format, so that whoever reads it can say what it is.
    package init(_ paths: [String], followsLinks: Bool = false) {
        self.followsLinks = followsLinks
        for path in paths {
            switch Self.kind(of: Array(path.utf8), followsLink: true) {
            case .missing: fail(path, "there is no such file or folder")
            case .folder(let identity): walk(path, identity)
            case .file: add(Array(path.utf8), name: URL(fileURLWithPath: path).lastPathComponent, root: nil)
            case let kind: skip(path, kind.reason)
            }
        }
        files.sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    private mutating func walk(_ path: String, _ identity: [UInt64]) {
        guard let real = Self.realPath(Array(path.utf8)) else { return fail(path, "the folder cannot be reached") }
        let root = roots.count
        roots.append(Root(path: Self.shown(real)))
        guard visited.insert(identity).inserted else { return }
        // Relative to the root. Folders that links lead to come last, so that a folder is known by its own name if it has one here.
        var folders: [[UInt8]] = [[]]
        var linked: [(name: [UInt8], identity: [UInt64])] = []
        while !folders.isEmpty || !linked.isEmpty {
            let folder: [UInt8]
            if let next = folders.popLast() { folder = next } else {
                let next = linked.removeFirst()
                guard visited.insert(next.identity).inserted else { continue }
                folder = next.name
            }
            visit(folder, of: Array(path.utf8), real, root, &folders, &linked)
        }
    }

    private mutating func visit(
        _ folder: [UInt8], of base: [UInt8], _ real: [UInt8], _ root: Int, _ folders: inout [[UInt8]], _ linked: inout [(name: [UInt8], identity: [UInt64])]
    ) {
        let slash = UInt8(ascii: "/")
        let location = folder.isEmpty ? base : base + [slash] + folder
        guard let entries = Self.entries(of: location) else {
            let reason = unsafe String(cString: strerror(errno)).lowercased()
            roots[root].unknown.append(folder.isEmpty ? "" : Self.shown(folder) + "/")
            return fail(Self.shown(location), "the folder cannot be read: \(reason)")
        }
        for entry in entries {
            let name = folder.isEmpty ? entry : folder + [slash] + entry
            let path = base + [slash] + name
            var kind = Self.kind(of: path, followsLink: false)
            let isLink = kind == .link
            if isLink {
                kind = Self.kind(of: path, followsLink: true)
                if kind == .missing { fail(Self.shown(path), "the link leads nowhere"); continue }
                if !followsLinks, let target = Self.realPath(path), !Self.isInside(target, real) {
                    skip(Self.shown(path), "the link leads out of the folder; --follow-links follows it")
                    continue
                }
            }
            switch kind {
            case .missing: continue  // it went while the folder was read
            case .folder(let identity):
                if isLink { linked.append((name, identity)) } else if visited.insert(identity).inserted { folders.append(name) }
            case .file:
                roots[root].names.insert(Self.shown(name))
                if DocumentFormat(name: Self.shown(entry)) != nil { add(path, name: Self.shown(name), root: root) } else { unsupported.append(Self.shown(path)) }
            default: skip(Self.shown(path), kind.reason)
            }
        }
    }

    private mutating func add(_ location: [UInt8], name: String, root: Int?) {
        let path = Self.shown(location)
        if let other = names[name] {
            if other != path { fail(path, "its name \(name) is that of \(other) already") }
        } else {
            names[name] = path
            files.append(File(location: location, path: path, name: name, root: root))
        }
    }

    private mutating func fail(_ path: String, _ reason: String) { problems.append(Problem(path: path, reason: reason, isFailure: true)) }
    private mutating func skip(_ path: String, _ reason: String) { problems.append(Problem(path: path, reason: reason, isFailure: false)) }
}

// MARK: - The file system

extension DocumentFolder {
    private enum Kind: Equatable {
        case missing, file, link, pipe, socket, device
        /// Device and inode.
        case folder([UInt64])

        var reason: String {
            switch self {
            case .pipe: "a pipe, not a file"
            case .socket: "a socket, not a file"
            case .device: "a device, not a file"
            default: "not a file"
            }
        }
    }

    private static func kind(of path: [UInt8], followsLink: Bool) -> Kind {
        var about = stat()
        let code = unsafe withCString(path) { unsafe followsLink ? stat($0, &about) : lstat($0, &about) }
        guard code == 0 else { return .missing }
        switch about.st_mode & S_IFMT {
        case S_IFREG: return .file
        case S_IFDIR: return .folder([UInt64(about.st_dev), UInt64(about.st_ino)])
        case S_IFLNK: return .link
        case S_IFIFO: return .pipe
        case S_IFSOCK: return .socket
        default: return .device
        }
    }

    /// Names in a folder without hidden ones, in ascending order of their bytes; `nil` if it cannot be read.
    private static func entries(of folder: [UInt8]) -> [[UInt8]]? {
        guard let stream = unsafe withCString(folder, { unsafe opendir($0) }) else { return nil }
        defer { unsafe closedir(stream) }
        var names: [[UInt8]] = []
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { unsafe Array($0.prefix { $0 != 0 }) }
            if name.first != UInt8(ascii: ".") { names.append(name) }
        }
        return names.sorted { $0.lexicographicallyPrecedes($1) }
    }

    private static func realPath(_ path: [UInt8]) -> [UInt8]? {
        guard let real = unsafe withCString(path, { unsafe realpath($0, nil) }) else { return nil }
        defer { unsafe free(real) }
        return unsafe UnsafeBufferPointer(start: real, count: strlen(real)).map { UInt8(bitPattern: $0) }
    }

    private static func isInside(_ path: [UInt8], _ root: [UInt8]) -> Bool {
        path == root || path.starts(with: root.last == UInt8(ascii: "/") ? root : root + [UInt8(ascii: "/")])
    }

    /// A path or a part of one as text; bytes that are not UTF-8 as `\xE9`, so that two names never become one.
    static func shown(_ bytes: [UInt8]) -> String {
        if let text = String(validating: bytes, as: UTF8.self) { return text }
        var text = ""
        var rest = bytes[...]
        while let first = rest.first {
            let length = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
            if length > 0, let character = String(validating: rest.prefix(length), as: UTF8.self), rest.count >= length {
                text += character
                rest = rest.dropFirst(length)
            } else {
                let digits = String(first, radix: 16, uppercase: true)
                text += "\\x" + (digits.utf8.count < 2 ? "0" : "") + digits
                rest = rest.dropFirst()
            }
        }
        return text
    }
}

/// Calls `body` with the bytes of a path as a C string.
func withCString<Result>(_ path: [UInt8], _ body: (UnsafePointer<CChar>) -> Result) -> Result {
    unsafe (path + [0]).withUnsafeBufferPointer { bytes in
        unsafe bytes.withMemoryRebound(to: CChar.self) { unsafe body($0.baseAddress!) }
    }
}
