import Foundation
import Storage
import Synchronization
import Testing

import S3Store

@Suite("cache of large objects")
struct FileCacheTests {
    let folder = FileManager.default.temporaryDirectory.path + "/covey-cache-\(UInt64.random(in: .min ... .max))"

    /// Asks for an object whose download works.
    private func fetch(_ cache: FileCache, _ key: String, _ bytes: [UInt8] = Array(repeating: 7, count: 100)) async throws -> LocalFile {
        try await cache.file(key) { path throws(StoreError) in
            do throws(SystemError) { try PosixFileSystem().append(bytes, to: path) } catch { throw StoreError(error) }
        }
    }
    private func contents(_ file: LocalFile) -> Data? { FileManager.default.contents(atPath: file.path) }
    private var files: [String] { (try? FileManager.default.contentsOfDirectory(atPath: folder + "/files")) ?? [] }

    @Test("those who ask at once share one download")
    func sharesDownloads() async throws {
        let cache = try FileCache(folder: folder, maximumBytes: 1_000)
        let downloads = Count()
        let paths = try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 0..<50 {
                group.addTask {
                    try await cache.file("k") { path throws(StoreError) in
                        downloads.next()
                        await Task.yield()
                        do throws(SystemError) { try PosixFileSystem().append([1, 2], to: path) } catch { throw StoreError(error) }
                    }.path
                }
            }
            return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
        #expect(downloads.value == 1 && paths.count == 1)
    }

    @Test("after a download that failed the next who waits tries itself")
    func failedDownload() async throws {
        let cache = try FileCache(folder: folder, maximumBytes: 1_000)
        let attempts = Count()
        let results = await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<10 {
                group.addTask {
                    let file = try? await cache.file("k") { path throws(StoreError) in
                        let attempt = attempts.next()
                        guard attempt > 3 else { throw .unavailable("attempt \(attempt)") }
                        do throws(SystemError) { try PosixFileSystem().append([1], to: path) } catch { throw StoreError(error) }
                    }
                    return file != nil
                }
            }
            return await group.reduce(into: [Bool]()) { $0.append($1) }
        }
        #expect(results.filter { $0 }.count == 7 && attempts.value == 4)
    }

    @Test("copies that nobody used for so long are removed, those in use stay")
    func removesIdle() async throws {
        let cache = try FileCache(folder: folder, maximumBytes: 1_000)
        let used = try await fetch(cache, "used")
        _ = try await fetch(cache, "idle")
        cache.removeIdle(for: .seconds(3_600))
        #expect(files.count == 2)
        cache.removeIdle(for: .zero)
        #expect(files.count == 1 && contents(used) != nil && cache.byteCount == 100)
        _ = try await fetch(cache, "idle")
        #expect(files.count == 2)
    }

    @Test("the least recently used goes first, what is in use stays, and room is made when it is let go")
    func evicts() async throws {
        let cache = try FileCache(folder: folder, maximumBytes: 250)
        let held = try await fetch(cache, "held")
        for key in ["a", "b"] { _ = try await fetch(cache, key) }
        // Three of 100 bytes do not fit: `a` was idle the longest.
        #expect(cache.byteCount == 200 && files.count == 2)
        #expect(contents(held)?.count == 100)
        var more: [LocalFile] = [held]
        for key in ["c", "d"] { more.append(try await fetch(cache, key)) }
        #expect(cache.byteCount == 300)
        more = []
        _ = consume held
        #expect(cache.byteCount <= 250)
    }

    @Test("survives a restart in the order of its uses; what was damaged meanwhile is fetched again")
    func restart() async throws {
        do {
            let cache = try FileCache(folder: folder, maximumBytes: 1_000)
            for key in ["a", "b"] { _ = try await fetch(cache, key) }
        }
        try Data([1]).write(to: URL(filePath: folder + "/files/foreign"))
        try Data([1]).write(to: URL(filePath: folder + "/scratch/9"))
        let cache = try FileCache(folder: folder, maximumBytes: 1_000)
        #expect(cache.byteCount == 200 && files.count == 2)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder + "/scratch").isEmpty)
        let downloads = Count()
        func ask(_ key: String) async throws -> LocalFile {
            try await cache.file(key) { path throws(StoreError) in
                downloads.next()
                do throws(SystemError) { try PosixFileSystem().append(Array(repeating: 7, count: 100), to: path) } catch { throw StoreError(error) }
            }
        }
        let intact = try await ask("a")
        #expect(downloads.value == 0)
        let damaged = files.first { !intact.path.hasSuffix($0) }!
        try Data(repeating: 8, count: 100).write(to: URL(filePath: folder + "/files/" + damaged))
        #expect(contents(try await ask("b")) == Data(repeating: 7, count: 100))
        #expect(downloads.value == 1)
    }

    @Test("a removed object leaves no bytes, also when it was on its way")
    func removes() async throws {
        let cache = try FileCache(folder: folder, maximumBytes: 1_000)
        let held = try await fetch(cache, "k")
        cache.remove("k")
        #expect(files.isEmpty && cache.byteCount == 0)
        _ = consume held
        await #expect(throws: StoreError.notFound(key: "late")) {
            try await cache.file("late") { path throws(StoreError) in
                do throws(SystemError) { try PosixFileSystem().append([1], to: path) } catch { throw StoreError(error) }
                cache.remove("late")
            }
        }
        #expect(files.isEmpty)
    }

    @Test("a folder that another process has is refused by name, and its lock's file closed once: by then the number may be another file's")
    func locked() async throws {
        let cache = try FileCache(folder: folder, maximumBytes: 1_000)
        let isOver = Atomic(false)
        async let stolen = Task.detached {
            var count = 0
            while !isOver.load(ordering: .relaxed) {
                let descriptor = unsafe open("/dev/null", O_RDONLY)
                for _ in 0..<20 where fcntl(descriptor, F_GETFD) < 0 { count += 1 }
                if close(descriptor) < 0 { count += 1 }
            }
            return count
        }.value
        for _ in 0..<2_000 {
            let thrown = #expect(throws: StoreError.self) { try FileCache(folder: folder, maximumBytes: 1_000) }
            #expect("\(thrown!)".contains(folder))
        }
        isOver.store(true, ordering: .relaxed)
        #expect(await stolen == 0)
        withExtendedLifetime(cache) {}
    }

    @Test("a copy that somebody removed is fetched again, also without the cache's folders")
    func cleaned() async throws {
        let cache = try FileCache(folder: folder, maximumBytes: 1_000)
        _ = try await fetch(cache, "k")
        for part in ["files", "scratch"] { try FileManager.default.removeItem(atPath: "\(folder)/\(part)") }
        let file = try await fetch(cache, "k")
        #expect(FileManager.default.fileExists(atPath: file.path) && cache.byteCount == 100)
    }
}

/// Counts from several tasks.
final class Count: Sendable {
    private let count = Atomic(0)
    @discardableResult func next() -> Int { count.add(1, ordering: .relaxed).newValue }
    var value: Int { count.load(ordering: .relaxed) }
}
