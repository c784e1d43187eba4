import Foundation

/// What ``LocalObjectStore`` asks of a file system, so that tests can put one under it that crashes.
///
/// Paths are absolute. Nothing is durable until it is synchronized: a file's bytes by the file, its name by the folder.
package protocol FileSystem: Sendable {
    /// Writes a new file; not durable.
    func write(_ bytes: [UInt8], to path: String) throws(SystemError)
    func read(_ path: String, range: Range<Int>?) throws(SystemError) -> [UInt8]
    func size(_ path: String) throws(SystemError) -> Int
    /// Gives the file a second name; `EEXIST` if that name is taken.
    func link(_ path: String, to newPath: String) throws(SystemError)
    /// Renames the file over whatever has the new name.
    func rename(_ path: String, to newPath: String) throws(SystemError)
    func remove(_ path: String) throws(SystemError)
    /// `EEXIST` if there is one.
    func makeFolder(_ path: String) throws(SystemError)
    /// `ENOTEMPTY` unless it is empty.
    func removeFolder(_ path: String) throws(SystemError)
    /// Names in a folder, in any order.
    func list(_ folder: String) throws(SystemError) -> [FolderEntry]
    func synchronize(_ path: String, _ purpose: SyncPurpose) throws(SystemError)

    /// A folder below `root` for files in the making that belongs to this process alone; those of dead processes are removed.
    func makeScratchFolder(in root: String) throws(SystemError) -> String
    /// A path under which the operating system can map the file.
    func mappablePath(_ path: String) throws(SystemError) -> String
    /// Takes in a file that was written by other means to a path in the scratch folder.
    func adopt(_ path: String) throws(SystemError)
}

package struct FolderEntry: Hashable, Sendable {
    package var name: String
    package var isFolder: Bool
}

/// Why something is synchronized: each has a test that loses data without it.
package enum SyncPurpose: CaseIterable, Sendable {
    /// The bytes of an object, before it gets its name.
    case contents
    /// The folder that now names a new object.
    case name
    /// The folder that now names a new folder.
    case folder
    /// The folder that names an object which was found there: its maker may not have come that far, or may have failed to.
    case existing
    /// The folder that no longer names a deleted object.
    case removal
}

package struct SystemError: Error, Hashable, Sendable {
    package var code: CInt
    package var operation: String
    package var path: String

    package init(code: CInt, operation: String, path: String) {
        self.code = code
        self.operation = operation
        self.path = path
    }
}

extension StoreError {
    package init(_ error: SystemError) {
        self = .system(errno: error.code, operation: error.operation, path: error.path)
    }
}

/// The operating system's words for an error number.
package func describeErrno(_ code: CInt) -> String {
    "\(unsafe String(cString: strerror(code))) (errno \(code))"
}
