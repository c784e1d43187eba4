import Foundation
import Ingestion
import Storage

/// Which documents of a collection `--sync` deletes: those that came from a folder and are not there any more.
struct SyncPlan: Sendable {
    /// What stands in the attribute `root` of a document, one for each folder that was given.
    let identities: [String]
    private(set) var deletions: [RemoteDocument] = []
    /// Documents of these folders that the collection has.
    private(set) var held = 0

    /// - Parameters:
    ///   - name: What the folder is called instead of its host and path; for a single folder.
    init(roots: [DocumentFolder.Root], name: String?) {
        identities = roots.map { name ?? Self.identity(of: $0.path) }
    }

    /// Finds what is to be deleted.
    mutating func compare(_ documents: [RemoteDocument], with roots: [DocumentFolder.Root]) {
        let folders = Dictionary(grouping: zip(identities, roots), by: \.0).mapValues { $0.map(\.1) }
        let ours = documents.filter { document in document.root.map { folders[$0] != nil } ?? false }
        held = ours.count
        deletions = ours.filter { document in !folders[document.root!]!.contains { $0.mayHold(document.name) } }
    }

    /// Why deleting would be a mistake: an empty folder is more often a disk that is not mounted than one that was emptied.
    var objection: String? {
        guard deletions.count * 2 > held else { return nil }
        return "--sync would delete \(deletions.count) of \(held) documents, more than half: is the folder mounted? --dry-run lists them, --force deletes them"
    }

    /// `host:/real/path`, at most as long as an attribute may be: two machines may have different folders at one path.
    private static func identity(of path: String) -> String {
        let identity = ProcessInfo.processInfo.hostName.prefix(64) + ":" + path
        return identity.utf8.count <= 512 ? String(identity) : String(identity.prefix(60)) + ":sha256:" + hex(sha256(Array(path.utf8)))
    }
}
