import Foundation

extension FuzzTarget {
    static let settings: [FuzzTarget] = [
        FuzzTarget(
            "yaml",
            seeds: [
                Array("store: {path: s3://b/p, cache_mib: 5}\ngateway:\n  address: 127.0.0.1:0\nnodes:\n- {name: shard-1, role: shard, address: \"127.0.0.1:1\", weight: 2, zone: a}\nkeys: [{tenant: t, sha256: \"00\"}]\n".utf8)
            ]
        ) { bytes in
            let path = "/dev/shm/covey-fuzz-\(getpid()).yaml"
            FileManager.default.createFile(atPath: path, contents: Data(bytes))
            defer { unlink(path) }
            do {
                _ = try Configuration(file: path, environment: [:], flags: [])
            } catch {
                precondition("\(error)".utf8.count > 0 && error is ConfigurationError, "\(error) names nothing")
            }
        },
    ]
}
