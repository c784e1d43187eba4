import Foundation

/// Certificates of an authority of their own, made by `cluster/certificates` into a folder that goes with this value.
package final class TestCertificates: Sendable {
    package let folder: URL

    /// - Parameter names: DNS names to make certificates for.
    package init(_ names: String...) throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "covey-certificates-\(UUID())")
        try make(names)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// Makes certificates anew.
    package func make(_ names: [String], _ options: String...) throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let process = Process()
        process.executableURL = root.appending(path: "cluster/certificates")
        process.arguments = [folder.path] + options + names
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw CocoaError(.executableLoad) }
    }

    package func path(_ file: String) -> String { folder.appending(path: file).path }
    package var authority: String { path("authority.pem") }
}
