import Foundation
import Model
import S3Store
import Storage
import Testing

/// The stores that must behave alike.
enum StoreKind: CaseIterable, Sendable {
    case memory, local, simulated, s3

    /// S3 on a real server, if there is one: `cluster/test` starts it.
    static let allCases: [StoreKind] = [.memory, .local, .simulated] + (s3Endpoint == nil ? [] : [.s3])
    static let s3Endpoint = ProcessInfo.processInfo.environment["COVEY_STORE_ENDPOINT"]
    /// What a service lists in an order of its own.
    var ordersFolders: Bool { self != .s3 }
    /// SeaweedFS refuses to create `a` once there is `a/b`.
    var nestsKeys: Bool { self != .s3 }
    /// SeaweedFS lets those who lose a race wait for seconds.
    var raceRounds: Int { self == .s3 ? 3 : 20 }

    func make(prefix: String = "test-\(UInt64.random(in: .min ... .max))") throws -> any ObjectStore {
        let root = FileManager.default.temporaryDirectory.path + "/covey-test-store-\(UInt64.random(in: .min ... .max))"
        return switch self {
        case .memory: MemoryObjectStore()
        case .local: try LocalObjectStore(root: root)
        case .simulated: try LocalObjectStore(root: root, fileSystem: SimulatedFileSystem())
        case .s3: try Self.makeS3(root: root, prefix: prefix)
        }
    }

    static func makeS3(root: String, prefix: String, secret: String? = nil) throws -> S3ObjectStore {
        let environment = ProcessInfo.processInfo.environment
        var configuration = S3Configuration(
            endpoint: s3Endpoint ?? "", bucket: "covey", prefix: prefix,
            credentials: S3Credentials(accessKey: environment["COVEY_STORE_ACCESS_KEY"] ?? "", secretKey: secret ?? environment["COVEY_STORE_SECRET_KEY"] ?? ""),
            cacheFolder: root)
        configuration.partBytes = 5 << 20
        return try S3ObjectStore(configuration)
    }
}

@Suite("Object store")
struct ObjectStoreTests {
    @Test("returns what was put, whole and in ranges", arguments: StoreKind.allCases)
    func roundTrip(kind: StoreKind) async throws {
        let store = try kind.make()
        let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        try await store.put("a/b", bytes, ifAbsent: true)
        #expect(try await store.get("a/b") == bytes)
        #expect(try await store.get("a/b", range: 100..<200) == Array(bytes[100..<200]))
        #expect(try await store.size("a/b") == 10_000)
        await #expect(throws: StoreError.outOfRange(key: "a/b", requested: 9_999..<10_001, size: 10_000)) { try await store.get("a/b", range: 9_999..<10_001) }
        await #expect(throws: StoreError.notFound(key: "a/c")) { try await store.get("a/c") }
        await #expect(throws: StoreError.notFound(key: "a/b/c")) { try await store.get("a/b/c") }
    }

    @Test("a key may be another's beginning", arguments: StoreKind.allCases.filter(\.nestsKeys))
    func nestedKeys(kind: StoreKind) async throws {
        let store = try kind.make()
        for key in ["a/1/2", "a/1", "a", "a/1/2/3"] { try await store.put(key, Array(key.utf8), ifAbsent: true) }
        for key in ["a/1/2", "a/1", "a", "a/1/2/3"] { #expect(try await store.get(key) == Array(key.utf8)) }
        #expect(try await store.list(prefix: "a/1", after: nil, limit: 10) == ["a/1", "a/1/2", "a/1/2/3"])
        try await store.delete(["a/1", "a/nothing"])
        #expect(try await store.list(prefix: "", after: nil, limit: 10) == ["a", "a/1/2", "a/1/2/3"])
    }

    @Test("create-only keeps the first object, overwriting replaces it", arguments: StoreKind.allCases)
    func createOnly(kind: StoreKind) async throws {
        let store = try kind.make()
        try await store.put("k", [1], ifAbsent: true)
        await #expect(throws: StoreError.alreadyExists(key: "k")) { try await store.put("k", [2], ifAbsent: true) }
        #expect(try await store.get("k") == [1])
        try await store.put("k", [3], ifAbsent: false)
        #expect(try await store.get("k") == [3])
    }

    @Test("of twenty racers for one key, exactly one wins and its bytes are stored", arguments: StoreKind.allCases)
    func racers(kind: StoreKind) async throws {
        let store = try kind.make()
        for round in 0..<kind.raceRounds {
            let winners = await withTaskGroup(of: UInt8?.self) { group in
                for racer in UInt8(0)..<20 {
                    group.addTask { (try? await store.put("race/\(round)", [racer], ifAbsent: true)) == nil ? nil : racer }
                }
                return await group.reduce(into: [UInt8]()) { if let winner = $1 { $0.append(winner) } }
            }
            #expect(winners.count == 1)
            #expect(try await store.get("race/\(round)") == winners)
        }
    }

    @Test("lists in byte order, page after page, as a sorted dictionary does", arguments: StoreKind.allCases, [1, 2, 3] as [UInt64])
    func listing(kind: StoreKind, seed: UInt64) async throws {
        let store = try kind.make()
        var random = SeededRandom(seed: seed)
        var keys: Set<String> = []
        for _ in 0..<120 {
            let parts = (0..<Int.random(in: 1...3, using: &random)).map { _ in
                String((0..<Int.random(in: 1...2, using: &random)).map { _ in "a0-.B_".filter { $0 != "." }.randomElement(using: &random)! })
            }
            keys.insert(parts.joined(separator: "/"))
        }
        if !kind.nestsKeys { keys = keys.filter { key in !keys.contains { $0.hasPrefix(key + "/") } } }
        for key in keys { try await store.put(key, [0], ifAbsent: true) }
        let sorted = keys.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
        let all = try await store.listAll(prefix: "")
        guard kind.ordersFolders else { return #expect(all.sorted() == sorted.sorted()) }
        #expect(all == sorted)
        for _ in 0..<60 {
            let prefix = String(sorted.randomElement(using: &random)!.prefix(Int.random(in: 0...4, using: &random)))
            let after = Bool.random(using: &random) ? sorted.randomElement(using: &random) : nil
            let limit = Int.random(in: 0...30, using: &random)
            let expected = sorted.filter { key in key.hasPrefix(prefix) && (after.map { Array($0.utf8).lexicographicallyPrecedes(Array(key.utf8)) } ?? true) }
            #expect(try await store.list(prefix: prefix, after: after, limit: limit) == Array(expected.prefix(limit)), "\(prefix) \(after ?? "")")
        }
    }

    @Test("takes in a file and gives one out, create-only", arguments: StoreKind.allCases.filter { $0 != .simulated })
    func files(kind: StoreKind) async throws {
        let store = try kind.make()
        for byteCount in [0, 3, (5 << 20), (5 << 20) + 1, (12 << 20) + 5] {
            let bytes = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 / 251 &+ $0) }
            let path = try await store.scratchPath()
            #expect(FileManager.default.createFile(atPath: path, contents: Data(bytes)))
            try await store.putFile("big/\(byteCount)", from: path)
            #expect(!FileManager.default.fileExists(atPath: path))
            #expect(try await store.size("big/\(byteCount)") == byteCount)
            let file = try await store.localFile("big/\(byteCount)")
            #expect(FileManager.default.contents(atPath: file.path) == Data(bytes))
            // Over the edges of parts.
            for edge in [5 << 20, 10 << 20] where edge + 9 < byteCount {
                #expect(try await store.get("big/\(byteCount)", range: edge - 9..<edge + 9) == Array(bytes[edge - 9..<edge + 9]))
            }
            let again = try await store.scratchPath()
            #expect(FileManager.default.createFile(atPath: again, contents: Data(repeating: 1, count: byteCount)))
            await #expect(throws: StoreError.alreadyExists(key: "big/\(byteCount)")) { try await store.putFile("big/\(byteCount)", from: again) }
            #expect(try await store.get("big/\(byteCount)") == bytes)
            try await store.delete("big/\(byteCount)")
            await #expect(throws: StoreError.notFound(key: "big/\(byteCount)")) { try await store.localFile("big/\(byteCount)") }
        }
    }

    @Test("lists thousands of keys of one folder in order, and deletes them together", arguments: StoreKind.allCases)
    func manyKeys(kind: StoreKind) async throws {
        let store = try kind.make()
        let keys = (0..<2_500).map { "log/" + StoreKey.twentyDigits(UInt64($0) * 7) }
        await withTaskGroup(of: Void.self) { group in
            for start in 0..<10 {
                group.addTask {
                    for key in keys[(start * 250)..<(start * 250 + 250)] { await #expect(throws: Never.self) { try await store.put(key, [1], ifAbsent: true) } }
                }
            }
        }
        #expect(try await store.listAll(prefix: "log/") == keys)
        #expect(try await store.list(prefix: "log/", after: keys[999], limit: 1_200) == Array(keys[1_000..<2_200]))
        try await store.delete(keys)
        #expect(try await store.listAll(prefix: "").isEmpty)
    }

    @Test("takes keys up to the limits", arguments: StoreKind.allCases)
    func longKeys(kind: StoreKind) async throws {
        let store = try kind.make(prefix: "")
        let part = String(UInt64.random(in: 1 << 60 ... .max), radix: 16)
        let long = part + String(repeating: "a", count: 254 - part.count)
        for key in [part, long, [long, long, long, long].joined(separator: "/")] {
            try await store.put(key, Array(key.utf8), ifAbsent: true)
            #expect(try await store.get(key) == Array(key.utf8))
            #expect(try await store.list(prefix: key, after: nil, limit: 1) == [key])
            try await store.delete(key)
        }
    }

    @Test("an emptied folder can be filled again while others empty it")
    func emptiedFolders() async throws {
        let store = try StoreKind.local.make()
        await withTaskGroup(of: Void.self) { group in
            for worker in 0..<4 {
                group.addTask {
                    for round in 0..<50 {
                        let key = "x/y/\(worker)-\(round)"
                        await #expect(throws: Never.self) {
                            try await store.put(key, [1], ifAbsent: true)
                            try await store.delete(key)
                        }
                    }
                }
            }
        }
        #expect(try await store.listAll(prefix: "").isEmpty)
    }

    @Test("processes that start at once do not take each other's folders of files in the making for those of dead ones")
    func startsAtOnce() async throws {
        let root = FileManager.default.temporaryDirectory.path + "/covey-test-store-\(UInt64.random(in: .min ... .max))"
        defer { try? FileManager.default.removeItem(atPath: root) }
        for _ in 0..<20 {
            let stores = try await withThrowingTaskGroup(of: LocalObjectStore.self) { group in
                for _ in 0..<16 { group.addTask { try LocalObjectStore(root: root) } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            for (index, store) in stores.enumerated() { try await store.put("a/\(index)", [1], ifAbsent: false) }
        }
    }

    @Test("while the store's folder is away, no object is called missing, and it works on when it is back")
    func folderAway() async throws {
        let root = FileManager.default.temporaryDirectory.path + "/covey-test-store-\(UInt64.random(in: .min ... .max))"
        defer { try? FileManager.default.removeItem(atPath: root) }
        let store = try LocalObjectStore(root: root)
        try await store.put("a/1", [1], ifAbsent: true)
        try FileManager.default.moveItem(atPath: root, toPath: root + ".away")
        func isAway(_ body: () async throws(StoreError) -> Void) async throws -> Bool {
            do throws(StoreError) { try await body() } catch {
                if case .system(ENOENT, _, let path) = error { return path.hasPrefix(root + "/.tmp/") }
                throw error
            }
            return false
        }
        #expect(try await isAway { () throws(StoreError) in _ = try await store.get("a/1") })
        #expect(try await isAway { () throws(StoreError) in _ = try await store.list(prefix: "a/", after: nil, limit: 9) })
        #expect(try await isAway { () throws(StoreError) in try await store.put("a/2", [1], ifAbsent: true) })
        try FileManager.default.moveItem(atPath: root + ".away", toPath: root)
        try await store.put("a/2", [1], ifAbsent: true)
        #expect(try await store.list(prefix: "a/", after: nil, limit: 9) == ["a/1", "a/2"])
        await #expect(throws: StoreError.notFound(key: "a/3")) { try await store.get("a/3") }
    }

    @Test("refuses keys that are unsafe as paths", arguments: ["", "/a", "a/", "a//b", ".", "a/..", "a/.tmp", "a b", "ä", "a~", String(repeating: "a", count: 255)])
    func keys(key: String) async throws {
        for kind in StoreKind.allCases {
            await #expect(throws: StoreError.self) { try await kind.make().put(key, [], ifAbsent: true) }
        }
    }
}

struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
