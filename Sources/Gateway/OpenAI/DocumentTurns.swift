/// Lets one writer at a time change a document.
///
/// Replacing a document reads how many chunks it has and then deletes those that are left over; two writers at once could
/// leave chunks of both. The turns are this process's: two gateways writing the same document at the same moment are not ordered.
actor DocumentTurns {
    private var waiting: [String: [CheckedContinuation<Void, Never>]] = [:]

    // Never inlined: the compiler (6.3.1) dies on a turn within a turn when it splits the coroutine.
    @inline(never)
    nonisolated func withTurn<Value: Sendable>(at key: String, _ work: @Sendable () async throws -> Value) async throws -> Value {
        await begin(key)
        do {
            let value = try await work()
            await end(key)
            return value
        } catch {
            await end(key)
            throw error
        }
    }

    private func begin(_ key: String) async {
        guard waiting[key] != nil else {
            waiting[key] = []
            return
        }
        await withCheckedContinuation { waiting[key]!.append($0) }
    }

    private func end(_ key: String) {
        if waiting[key]!.isEmpty { waiting[key] = nil } else { waiting[key]!.removeFirst().resume() }
    }
}
