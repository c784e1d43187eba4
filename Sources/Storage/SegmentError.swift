import Glibc

/// Why there is no segment, or what is wrong with one. Every case names the file.
package enum SegmentError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file does not begin as a segment does.
    case notASegment(path: String)
    case unsupportedVersion(path: String, version: UInt32)
    /// The file is shorter or longer than its header says.
    case wrongLength(path: String, expected: UInt64, found: UInt64)
    case headerDamaged(path: String, reason: String)
    case checksumMismatch(path: String, section: String, expected: UInt32, found: UInt32)
    case missingSection(path: String, section: String)
    /// The section's bytes are as they were written, but not what its reader can use.
    case malformedSection(path: String, section: String, reason: String)
    case system(path: String, operation: String, errno: Int32)
    /// Whoever asked for the file took it back while it was being built.
    case stopped(path: String)

    package var description: String {
        switch self {
        case .notASegment(let path): "\(path): not a segment file"
        case .unsupportedVersion(let path, let version):
            "\(path): segment format version \(version) is not supported, expected \(SegmentFile.formatVersion)"
        case .wrongLength(let path, let expected, let found): "\(path): expected \(expected) bytes, found \(found)"
        case .headerDamaged(let path, let reason): "\(path): damaged header: \(reason)"
        case .checksumMismatch(let path, let section, let expected, let found):
            "\(path): section \"\(section)\" is damaged: expected checksum \(expected), found \(found)"
        case .missingSection(let path, let section): "\(path): no section \"\(section)\""
        case .malformedSection(let path, let section, let reason): "\(path): section \"\(section)\": \(reason)"
        case .system(let path, let operation, let errno): "\(path): \(operation) failed: \(errorText(errno))"
        case .stopped(let path): "\(path): building was stopped"
        }
    }
}

/// The operating system's words for an error number.
private func errorText(_ number: Int32) -> String {
    unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
        guard unsafe strerror_r(number, buffer.baseAddress!, buffer.count) == 0 else { return "error \(number)" }
        return unsafe String(cString: buffer.baseAddress!)
    }
}
