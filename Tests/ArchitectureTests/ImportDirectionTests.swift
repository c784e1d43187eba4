import Foundation
import Testing

/// The layers of ARCHITECTURE.md, from the top. A module may import what stands in a lower layer; modules of one layer never import
/// each other. A C module is imported by its wrapper only.
private let layers: [[String]] = [
    ["covey"],
    ["Simulation"],
    ["Console"],
    ["Gateway"],
    ["Ingestion", "Coordination", "Sharding", "Generation"],
    ["Embedding"],
    ["Transport", "S3Store"],
    ["HTTP2", "TLS", "OutboundHTTP"],
    ["Placement", "Wire"],
    ["VectorIndex", "LexicalIndex"],
    ["Storage", "VectorMath"],
    ["Observability"],
    ["Model"],
]

/// The modules that may import each C module: those that wrap it.
private let importers: [String: Set<String>] = [
    "CNGHTTP2": ["HTTP2"], "COpenSSL": ["TLS"], "CCurl": ["OutboundHTTP"], "CCrypto": ["Storage"], "CLibXML2": ["Ingestion", "S3Store"], "CEmbeddingKernels": ["Embedding"], "CZlib": ["Ingestion"], "CJSONKernels": ["Model"],
    // Vectors, and the checksum of what is stored.
    "CVectorKernels": ["VectorMath", "Storage"],
]

private let engine: Set<String> = ["VectorIndex", "LexicalIndex", "Storage", "VectorMath", "Model"]
private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

@Suite("the directions of import")
struct ImportDirectionTests {
    let imports: [String: Set<String>]

    init() throws { imports = try importsByModule() }

    @Test("every module of Sources stands in a layer or is a C module")
    func everyModuleIsKnown() {
        let known = Set(layers.joined())
        for module in imports.keys where !module.hasPrefix("C") || module == "Console" || module == "Coordination" {
            #expect(known.contains(module), "\(module) has no layer")
        }
    }

    @Test("imports point down")
    func importsPointDown() {
        let depth = depthByModule()
        for (module, imported) in imports {
            guard let own = depth[module] else { continue }
            for other in imported {
                guard let theirs = depth[other] else { continue }
                #expect(theirs > own, "\(module) imports \(other), which is not below it")
            }
        }
    }

    @Test("Package.swift names no dependency that points up")
    func packagePointsDown() throws {
        let depth = depthByModule()
        for (module, dependencies) in try dependenciesByModule() {
            guard let own = depth[module] else { continue }
            for other in dependencies {
                guard let theirs = depth[other] else { continue }
                #expect(theirs > own, "Package.swift lets \(module) depend on \(other)")
            }
        }
    }

    @Test("a C module is imported by its wrapper only")
    func wrappersOnlyForC() {
        for (module, imported) in imports {
            for (library, allowed) in importers where imported.contains(library) {
                #expect(allowed.contains(module), "\(module) imports \(library), which belongs to \(allowed.sorted().joined(separator: ", "))")
            }
        }
    }

    @Test("the engine imports neither the network nor protobuf")
    func engineIsPure() {
        for module in engine {
            for name in imports[module] ?? [] {
                #expect(!name.hasPrefix("NIO") && !name.hasPrefix("SwiftProtobuf") && name != "Hummingbird", "\(module) imports \(name)")
            }
        }
    }

    @Test("no mutex holds a function by itself: each look would wrap it anew, without end")
    func noFunctionsInMutexes() throws {
        let functions = try Regex(#"Mutex<[^>\n]*->"#)
        for file in try swiftFiles() { #expect(file.text.firstMatch(of: functions) == nil, "\(file.path) has a mutex of a function: put it into a struct") }
    }

    @Test("only the executable reads flags, files of configuration and the environment")
    func onlyCoveyConfigures() throws {
        for file in try swiftFiles() where file.module != "covey" {
            for name in ["ArgumentParser", "Yams"] {
                #expect(!file.imports.contains(name), "\(file.path) imports \(name)")
            }
            for call in ["ProcessInfo.processInfo.environment", "getenv(", "CommandLine.arguments"] {
                #expect(!file.text.contains(call), "\(file.path) calls \(call)")
            }
        }
    }
}

private struct SwiftFile {
    let module: String
    let path: String
    let text: String
    var imports: Set<String> {
        var names: Set<String> = []
        for line in text.split(separator: "\n") {
            var words = line.split(separator: " ").map(String.init)
            while let first = words.first, first.hasPrefix("@") || ["package", "public", "internal", "private", "fileprivate"].contains(first) {
                words.removeFirst()
            }
            guard words.first == "import", words.count >= 2 else { continue }
            let kinds = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]
            let name = kinds.contains(words[1]) && words.count > 2 ? words[2] : words[1]
            names.insert(String(name.split(separator: ".")[0]))
        }
        return names
    }
}

private func swiftFiles() throws -> [SwiftFile] {
    let sources = root.appending(path: "Sources")
    let paths = try FileManager.default.subpathsOfDirectory(atPath: sources.path).filter { $0.hasSuffix(".swift") }
    return try paths.map { path in
        SwiftFile(
            module: String(path.split(separator: "/")[0]), path: path,
            text: try String(contentsOf: sources.appending(path: path), encoding: .utf8))
    }
}

private func importsByModule() throws -> [String: Set<String>] {
    var imports: [String: Set<String>] = [:]
    for file in try swiftFiles() { imports[file.module, default: []].formUnion(file.imports) }
    return imports
}

private func depthByModule() -> [String: Int] {
    var depth: [String: Int] = [:]
    for (index, layer) in layers.enumerated() {
        for module in layer { depth[module] = index }
    }
    return depth
}

/// Reads `.module("Name", ["A", "B", …])` out of Package.swift.
private func dependenciesByModule() throws -> [String: Set<String>] {
    let manifest = try String(contentsOf: root.appending(path: "Package.swift"), encoding: .utf8)
    var dependencies: [String: Set<String>] = [:]
    let module = try Regex(#"\.module\(\s*"(\w+)"(?:,\s*\[([^\]]*)\])?"#)
    for match in manifest.matches(of: module) {
        guard let name = match[1].substring else { continue }
        let list = match[2].substring ?? ""
        dependencies[String(name)] = Set(list.split(separator: "\"").map(String.init).filter { $0.allSatisfy(\.isLetter) })
    }
    #expect(dependencies.count >= 15, "Package.swift was not understood")
    return dependencies
}
