import Logging
import S3Store
import ServiceLifecycle

/// Looks at what an S3 store is asked for beside the serving, as some services take seconds for it, and at coordinators only, as one process of a cluster is
/// enough: warns of settings of the bucket that are at odds with it, and ends the process if two writers win that come together.
struct StoreTrial: Service {
    /// `nil`: a store of another kind, which needs no trial.
    let store: S3ObjectStore?
    let path: String
    let logger: Logger

    private static let pause: Duration = .seconds(60)

    func run() async throws {
        if let store, let refusal = await refusal(by: store) { throw ConfigurationError("store.path \(path) cannot be used: \(refusal)") }
        try? await gracefulShutdown()
    }

    /// - Returns: `nil` if all is well, or if the process was told to stop before that was known.
    private func refusal(by store: S3ObjectStore) async -> S3Refusal? {
        await cancelWhenGracefulShutdown {
            for warning in await store.bucketWarnings() { logger.warning("\(warning)", metadata: ["store": "\(path)"]) }
            while !Task.isCancelled {
                do {
                    try await store.verifyRace()
                    return nil
                } catch let refusal as S3Refusal {
                    return refusal
                } catch where !Task.isCancelled {
                    logger.warning("could not try out whether of racing writers one wins", metadata: ["store": "\(path)", "reason": "\(error)"])
                    try? await Task.sleep(for: Self.pause)
                } catch {}
            }
            return nil
        }
    }
}
