import Foundation

extension DocumentFolder {
    /// Why a file's content could not be had.
    package struct ReadFailure: Error, Hashable, Sendable {
        /// A lower-case fragment.
        package var reason: String
        /// The file is not there any more, or there is nothing to read.
        package var isGone = false

        package init(reason: String, isGone: Bool = false) {
            self.reason = reason
            self.isGone = isGone
        }
    }
}

extension DocumentFolder.File {
    /// The file's content, as it was at one moment: its size, its times and its inode are the same before and after.
    ///
    /// A file that changes while it is read is read once more. What stopped being a regular file since the walk is not opened.
    ///
    /// - Parameters:
    ///   - maximumBytes: A larger file is not read.
    ///   - afterReading: Called between the reading and the look whether the file changed.
    package func read(maximumBytes: Int, afterReading: () -> Void = {}) throws(DocumentFolder.ReadFailure) -> [UInt8] {
        for _ in 0..<2 {
            if let content = try attempt(maximumBytes, afterReading) { return content }
        }
        throw DocumentFolder.ReadFailure(reason: "it changed twice while it was read")
    }

    /// `nil` if the file changed meanwhile.
    private func attempt(_ maximumBytes: Int, _ afterReading: () -> Void) throws(DocumentFolder.ReadFailure) -> [UInt8]? {
        // Without O_NONBLOCK, a pipe in the file's place would hold up whoever opens it.
        let descriptor = unsafe withCString(location) { unsafe open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        guard descriptor >= 0 else { throw failure("cannot be opened") }
        defer { close(descriptor) }
        var before = stat()
        guard unsafe fstat(descriptor, &before) == 0 else { throw failure("cannot be read") }
        guard before.st_mode & S_IFMT == S_IFREG else { throw DocumentFolder.ReadFailure(reason: "it is no regular file any more") }
        guard before.st_size <= maximumBytes else {
            throw DocumentFolder.ReadFailure(reason: "it has \(before.st_size) bytes, the limit of --max-file-mib is \(maximumBytes)")
        }
        var content = [UInt8](repeating: 0, count: Int(before.st_size) + 1)
        var count = 0
        while count < content.count {
            let read = unsafe content.withUnsafeMutableBytes { unsafe Foundation.read(descriptor, $0.baseAddress! + count, $0.count - count) }
            if read < 0, errno == EINTR { continue }
            guard read >= 0 else { throw failure("cannot be read") }
            if read == 0 { break }
            count += read
        }
        afterReading()
        var (after, named) = (stat(), stat())
        guard unsafe fstat(descriptor, &after) == 0 else { throw failure("cannot be read") }
        guard unsafe withCString(location, { unsafe stat($0, &named) }) == 0 else { throw failure("cannot be read") }
        guard count == Int(before.st_size), Self.version(before) == Self.version(after), Self.version(after) == Self.version(named) else { return nil }
        content.removeLast(content.count - count)
        return content
    }

    private static func version(_ about: stat) -> [Int] {
        [Int(about.st_dev), Int(about.st_ino), Int(about.st_size), about.st_mtim.tv_sec, about.st_mtim.tv_nsec, about.st_ctim.tv_sec, about.st_ctim.tv_nsec]
    }

    private func failure(_ what: String) -> DocumentFolder.ReadFailure {
        if errno == ENOENT || errno == ENOTDIR { return DocumentFolder.ReadFailure(reason: "it vanished before it could be read", isGone: true) }
        return DocumentFolder.ReadFailure(reason: "\(what): \(unsafe String(cString: strerror(errno)).lowercased())")
    }
}
