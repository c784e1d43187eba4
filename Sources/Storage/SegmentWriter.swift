import Glibc

/// Writes a segment file section by section, in one pass, without holding a section in memory.
///
/// The header is written last, so a file whose writer died is no segment. A writer that goes away before ``finish()``
/// removes its file. Not for use from several threads at once.
///
///     let writer = try SegmentWriter(path: path)
///     try writer.addSection("ids", bytes)
///     try writer.beginSection("payloads")
///     for payload in payloads { try writer.append(payload) }
///     try writer.endSection()
///     let byteCount = try writer.finish()
package final class SegmentWriter {
    package let path: String
    private var descriptor: Int32
    private var sections: [SegmentFile.Section] = []
    private var open: SegmentFile.Section?
    /// Where the next byte goes.
    private var offset = SegmentFile.headerByteCount
    /// Bytes not yet given to the system.
    private var pending: [UInt8] = []

    /// What the system is given ends at multiples of it: a large page, which file systems that have them (ext4 since Linux 6.16, xfs) keep what comes in one call in.
    /// A search of ten million rows is a tenth faster in those (docs/performance.md, "Building and growth").
    private static let unit = 2 << 20

    /// Creates the file, or empties it if it exists.
    package init(path: String) throws(SegmentError) {
        self.path = path
        descriptor = unsafe Glibc.open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw .system(path: path, operation: "create", errno: errno) }
        guard lseek(descriptor, off_t(offset), SEEK_SET) >= 0 else {
            throw .system(path: path, operation: "seek", errno: errno)
        }
    }

    deinit {
        guard descriptor >= 0 else { return }
        close(descriptor)
        unsafe unlink(path)
    }

    /// Starts a section; it begins at a multiple of 64 bytes.
    ///
    /// - Parameter name: 1…32 bytes of UTF-8, not used before in this file.
    package func beginSection(_ name: String) throws(SegmentError) {
        precondition(open == nil, "section \"\(open!.name)\" is still open")
        precondition((1...SegmentFile.maximumNameByteCount).contains(name.utf8.count), "section name of \(name.utf8.count) bytes")
        precondition(!sections.contains { $0.name == name }, "section \"\(name)\" written twice")
        precondition(sections.count < SegmentFile.maximumSectionCount, "more than \(SegmentFile.maximumSectionCount) sections")
        open = SegmentFile.Section(name: name, offset: offset, byteCount: 0, checksum: 0)
    }

    /// Adds bytes to the open section.
    package func append(_ bytes: UnsafeRawBufferPointer) throws(SegmentError) {
        precondition(open != nil, "no section is open")
        guard unsafe !bytes.isEmpty else { return }
        open!.byteCount += bytes.count
        try unsafe write(bytes)
    }

    package func append(_ bytes: [UInt8]) throws(SegmentError) {
        try append(bytes.span)
    }

    package func append<Element: BitwiseCopyable>(_ elements: Span<Element>) throws(SegmentError) {
        var result: Result<Void, SegmentError> = .success(())
        unsafe elements.withUnsafeBytes { raw in
            do throws(SegmentError) { try unsafe append(raw) } catch { result = .failure(error) }
        }
        try result.get()
    }

    /// Adds the elements' bytes as they lie in memory (little-endian on every supported machine).
    package func append<Element: BitwiseCopyable>(elements: [Element]) throws(SegmentError) {
        try append(elements.span)
    }

    /// Ends the open section and fills up to the next multiple of 64 bytes with zeros, which the checksum covers too.
    package func endSection() throws(SegmentError) {
        precondition(open != nil, "no section is open")
        let padding = SegmentFile.padded(offset) - offset
        if padding > 0 {
            try unsafe withBytes(of: [UInt8](repeating: 0, count: padding)) { (raw) throws(SegmentError) in try unsafe write(raw) }
        }
        sections.append(open!)
        open = nil
    }

    package func addSection(_ name: String, _ bytes: [UInt8]) throws(SegmentError) {
        try beginSection(name)
        try append(bytes)
        try endSection()
    }

    package func addSection<Element: BitwiseCopyable>(_ name: String, elements: [Element]) throws(SegmentError) {
        try beginSection(name)
        try append(elements: elements)
        try endSection()
    }

    /// What has been written so far, mapped to be read. It stays readable when the writer goes away.
    package func written() throws(SegmentError) -> SegmentFile {
        precondition(open == nil, "section \"\(open!.name)\" is still open")
        try flush()
        return try SegmentFile(path: path, sections: sections)
    }

    /// Writes the header and makes file and folder entry durable. The writer is of no use afterwards.
    ///
    /// - Returns: The file's length in bytes.
    package func finish() throws(SegmentError) -> Int {
        precondition(open == nil, "section \"\(open!.name)\" is still open")
        precondition(descriptor >= 0, "finished twice")
        try flush()
        let header = SegmentFile.header(sections: sections, byteCount: offset)
        let written = unsafe header.withUnsafeBytes { unsafe pwrite(descriptor, $0.baseAddress, $0.count, 0) }
        guard written == header.count else { throw .system(path: path, operation: "write", errno: written < 0 ? errno : EIO) }
        guard fsync(descriptor) == 0 else { throw .system(path: path, operation: "fsync", errno: errno) }
        close(descriptor)
        descriptor = -1
        try syncFolder()
        return offset
    }

    private func write(_ bytes: UnsafeRawBufferPointer) throws(SegmentError) {
        open!.checksum = unsafe crc32c(bytes, seed: open!.checksum)
        var rest = unsafe bytes
        while unsafe !rest.isEmpty {
            let room = Self.unit - offset % Self.unit
            let isThrough = unsafe pending.isEmpty && rest.count >= room
            let count = unsafe isThrough ? room + (rest.count - room) / Self.unit * Self.unit : min(room, rest.count)
            let next = unsafe UnsafeRawBufferPointer(rebasing: rest.prefix(count))
            if isThrough { try unsafe writeThrough(next) } else { unsafe pending.append(contentsOf: next) }
            offset += count
            if count == room { try flush() }
            unsafe rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
        }
    }

    private func flush() throws(SegmentError) {
        try unsafe withBytes(of: pending) { (raw) throws(SegmentError) in try unsafe writeThrough(raw) }
        pending.removeAll(keepingCapacity: true)
    }

    private func writeThrough(_ bytes: UnsafeRawBufferPointer) throws(SegmentError) {
        var rest = unsafe bytes
        while unsafe !rest.isEmpty {
            let count = unsafe Glibc.write(descriptor, rest.baseAddress, rest.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw .system(path: path, operation: "write", errno: errno)
            }
            unsafe rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
        }
    }

    private func syncFolder() throws(SegmentError) {
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let handle = unsafe Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard handle >= 0 else { throw .system(path: folder, operation: "open", errno: errno) }
        defer { close(handle) }
        guard fsync(handle) == 0 else { throw .system(path: folder, operation: "fsync", errno: errno) }
    }

    private func withBytes<Element>(
        of elements: [Element], _ body: (UnsafeRawBufferPointer) throws(SegmentError) -> Void
    ) throws(SegmentError) {
        var result: Result<Void, SegmentError> = .success(())
        unsafe elements.withUnsafeBytes { raw in
            do throws(SegmentError) { try unsafe body(raw) } catch { result = .failure(error) }
        }
        try result.get()
    }
}
