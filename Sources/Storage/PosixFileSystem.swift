import Foundation
import Synchronization

/// The operating system's file system.
package final class PosixFileSystem: FileSystem {
    /// Descriptors whose locks mark this process's scratch folders; they are held until the process ends.
    private let locks = Mutex<[CInt]>([])

    package init() {}

    deinit { locks.withLock { $0.forEach { close($0) } } }

    package func write(_ bytes: [UInt8], to path: String) throws(SystemError) {
        try write(bytes, to: path, O_CREAT | O_EXCL)
    }

    /// Adds bytes to the end of a file, which is made if it is missing; not durable.
    package func append(_ bytes: [UInt8], to path: String) throws(SystemError) { try write(bytes, to: path, O_CREAT | O_APPEND) }

    private func write(_ bytes: [UInt8], to path: String, _ flags: CInt) throws(SystemError) {
        let descriptor = unsafe open(path, O_WRONLY | O_CLOEXEC | flags, 0o644)
        guard descriptor >= 0 else { throw failure("create", path) }
        defer { close(descriptor) }
        var offset = 0
        while offset < bytes.count {
            let written = unsafe bytes.withUnsafeBytes { unsafe Foundation.write(descriptor, $0.baseAddress! + offset, $0.count - offset) }
            if written < 0 {
                if errno == EINTR { continue }
                throw failure("write", path)
            }
            offset += written
        }
    }

    package func read(_ path: String, range: Range<Int>?) throws(SystemError) -> [UInt8] {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        let start = range?.lowerBound ?? 0
        let count: Int
        if let range { count = range.count } else { count = try size(path) }
        var filled = 0
        var code: CInt = 0
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initializedCount in
            while filled < count {
                let got = unsafe pread(descriptor, buffer.baseAddress! + filled, count - filled, start + filled)
                if got < 0 {
                    if errno == EINTR { continue }
                    code = errno
                    break
                }
                if got == 0 { break }
                filled += got
            }
            initializedCount = filled
        }
        guard code == 0 else { throw SystemError(code: code, operation: "read", path: path) }
        return bytes
    }

    package func size(_ path: String) throws(SystemError) -> Int {
        var information = stat()
        guard unsafe stat(path, &information) == 0 else { throw failure("stat", path) }
        guard information.st_mode & S_IFMT == S_IFREG else { throw SystemError(code: ENOENT, operation: "stat", path: path) }
        return information.st_size
    }

    package func link(_ path: String, to newPath: String) throws(SystemError) {
        guard unsafe Foundation.link(path, newPath) == 0 else { throw failure("link", newPath) }
    }

    package func rename(_ path: String, to newPath: String) throws(SystemError) {
        guard unsafe Foundation.rename(path, newPath) == 0 else { throw failure("rename", newPath) }
    }

    package func remove(_ path: String) throws(SystemError) {
        guard unsafe unlink(path) == 0 else { throw failure("unlink", path) }
    }

    package func makeFolder(_ path: String) throws(SystemError) {
        guard unsafe mkdir(path, 0o755) == 0 else { throw failure("mkdir", path) }
    }

    package func removeFolder(_ path: String) throws(SystemError) {
        guard unsafe rmdir(path) == 0 else { throw failure("rmdir", path) }
    }

    package func list(_ folder: String) throws(SystemError) -> [FolderEntry] {
        guard let stream = unsafe opendir(folder) else { throw failure("open folder", folder) }
        defer { unsafe closedir(stream) }
        var entries: [FolderEntry] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(stream) else {
                guard errno == 0 else { throw failure("read folder", folder) }
                return entries
            }
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { unsafe String(cString: $0.baseAddress!.assumingMemoryBound(to: CChar.self)) }
            if name == "." || name == ".." { continue }
            entries.append(FolderEntry(name: name, isFolder: unsafe isFolder(entry.pointee.d_type, folder + "/" + name)))
        }
    }

    /// Some file systems do not say the type while listing.
    private func isFolder(_ type: UInt8, _ path: String) -> Bool {
        if Int(type) != Int(DT_UNKNOWN) { return Int(type) == Int(DT_DIR) }
        var information = stat()
        return unsafe stat(path, &information) == 0 && information.st_mode & S_IFMT == S_IFDIR
    }

    package func synchronize(_ path: String, _ purpose: SyncPurpose) throws(SystemError) {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("fsync", path) }
    }

    package func makeScratchFolder(in root: String) throws(SystemError) -> String {
        let parent = root + "/.tmp"
        do { try makeFolder(parent) } catch { if error.code != EEXIST { throw error } }
        for entry in try list(parent) where entry.isFolder { removeIfDead(parent + "/" + entry.name) }
        while true {
            let folder = parent + "/" + String(UInt64.random(in: .min ... .max), radix: 16)
            try makeFolder(folder)
            if let lock = try locked(folder + "/lock") {
                locks.withLock { $0.append(lock) }
                return folder
            }
        }
    }

    /// Makes a file and locks it; nil if another process took the folder, not locked yet, for a dead one's and removes it.
    private func locked(_ path: String) throws(SystemError) -> CInt? {
        let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw failure("lock", path)
        }
        var information = stat()
        let result = flock(descriptor, LOCK_EX | LOCK_NB)
        if result == 0, unsafe fstat(descriptor, &information) == 0, information.st_nlink > 0 { return descriptor }
        defer { close(descriptor) }
        guard result == 0 || errno == EWOULDBLOCK else { throw failure("lock", path) }
        return nil
    }

    /// A dead process holds no lock. One that has made its folder but not yet locked it shows no lock file.
    private func removeIfDead(_ folder: String) {
        let descriptor = unsafe open(folder + "/lock", O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { return }
        for entry in (try? list(folder)) ?? [] { try? remove(folder + "/" + entry.name) }
        try? removeFolder(folder)
    }

    package func mappablePath(_ path: String) throws(SystemError) -> String {
        _ = try size(path)
        return path
    }

    package func adopt(_ path: String) throws(SystemError) { _ = try size(path) }

    private func failure(_ operation: String, _ path: String) -> SystemError {
        SystemError(code: errno, operation: operation, path: path)
    }
}
