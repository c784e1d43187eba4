import Foundation

/// The documents under some paths, as a client that sends them needs to know them.
package struct DocumentFolder: Sendable {
    package struct File: Hashable, Sendable {
        /// Where to read it.
        package var path: String
        /// What it is called in a collection: its path relative to the folder that was given, or its own name if it was given itself.
        package var name: String
    }

    package struct Problem: Hashable, Sendable {
        package var path: String
        /// A lower-case fragment.
        package var reason: String
    }

    /// In ascending order of the names' bytes; no two have one name.
    package private(set) var files: [File] = []
    /// What cannot be read, and files whose name another has.
    package private(set) var problems: [Problem] = []
    /// Files in folders that are of no supported format.
    package private(set) var unsupportedCount = 0

    private var names: [String: String] = [:]
    /// Real paths of the folders visited, so that a link that leads back ends the walk.
    private var visited: Set<String> = []

    /// Walks `paths` and what is in them. Hidden files and folders are left out; links are followed, each folder is entered once.
    ///
    /// A file that was given itself is listed whatever its format, so that whoever reads it can say what it is.
    package init(_ paths: [String]) {
        for path in paths {
            var isFolder: ObjCBool = false
            if !(unsafe FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)) {
                problems.append(Problem(path: path, reason: "there is no such file or folder"))
            } else if isFolder.boolValue {
                walk(path)
            } else {
                add(path, name: URL(fileURLWithPath: path).lastPathComponent)
            }
        }
        files.sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    private mutating func walk(_ root: String) {
        var folders = [""]  // relative to the root
        while let folder = folders.popLast() {
            let path = folder.isEmpty ? root : root + "/" + folder
            guard visited.insert(URL(fileURLWithPath: path).resolvingSymlinksInPath().path).inserted else { continue }
            let entries: [String]
            do {
                entries = try FileManager.default.contentsOfDirectory(atPath: path)
            } catch {
                problems.append(Problem(path: path, reason: "the folder cannot be read: \(Self.reason(error))"))
                continue
            }
            for entry in entries.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) where !entry.hasPrefix(".") {
                let name = folder.isEmpty ? entry : folder + "/" + entry
                var isFolder: ObjCBool = false
                if !(unsafe FileManager.default.fileExists(atPath: root + "/" + name, isDirectory: &isFolder)) {
                    problems.append(Problem(path: root + "/" + name, reason: "the link leads nowhere"))
                } else if isFolder.boolValue {
                    folders.append(name)
                } else if DocumentFormat(name: entry) != nil {
                    add(root + "/" + name, name: name)
                } else {
                    unsupportedCount += 1
                }
            }
        }
    }

    private mutating func add(_ path: String, name: String) {
        // Pipes and devices would block whoever reads them.
        let type = try? FileManager.default.attributesOfItem(atPath: URL(fileURLWithPath: path).resolvingSymlinksInPath().path)[.type] as? FileAttributeType
        if type != .typeRegular {
            problems.append(Problem(path: path, reason: "not a regular file"))
        } else if !FileManager.default.isReadableFile(atPath: path) {
            problems.append(Problem(path: path, reason: "the file cannot be read"))
        } else if let other = names[name] {
            if other != path { problems.append(Problem(path: path, reason: "its name \(name) is that of \(other) already")) }
        } else {
            names[name] = path
            files.append(File(path: path, name: name))
        }
    }

    private static func reason(_ error: any Error) -> String {
        let underlying = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError
        guard let underlying, underlying.domain == NSPOSIXErrorDomain else { return error.localizedDescription }
        return unsafe String(cString: strerror(Int32(underlying.code))).lowercased()
    }
}
