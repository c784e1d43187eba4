import ArgumentParser
import Foundation
import Model
import Storage

/// Makes an API key. Only its hash goes into the configuration; the key itself is shown once.
struct KeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Make an API key for a tenant, and the line that the configuration needs.",
        discussion: "The key is printed once and stored nowhere. The configuration holds its SHA-256 only, under `keys`.")

    @Option(help: "The tenant that the key names.") var tenant: String
    @Flag(help: "Print JSON.") var json = false

    func run() async throws {
        let tenant = try TenantID(tenant)
        // 32 bytes from the system's generator: nothing to guess, so a plain hash is enough to store.
        let secret = (0..<4).map { _ in fixedHex(.random(in: 0...UInt64.max)) }.joined()
        let key = "covey-\(secret)"
        let digest = sha256(Array(key.utf8)).map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
        if json {
            let fields: JSONValue = ["tenant": .string(tenant.rawValue), "key": .string(key), "sha256": .string(digest)]
            print(String(decoding: fields.serialized(), as: UTF8.self))
        } else {
            print("key for the client:   \(key)")
            print("in the configuration: keys: [{tenant: \(tenant), sha256: \(digest)}]")
        }
    }
}
