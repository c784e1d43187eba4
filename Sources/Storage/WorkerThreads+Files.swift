extension WorkerThreads {
    /// Runs calls that wait for a disk.
    ///
    /// - Throws: ``StoreError/system(errno:operation:path:)`` as the job does, ``StoreError/unavailable(_:)`` if the queue is full.
    package func onDisk<Value: Sendable>(_ job: @escaping @Sendable () throws(SystemError) -> Value) async throws(StoreError) -> Value {
        let result: Result<Value, SystemError>
        do throws(QueueFull) {
            result = try await run { do throws(SystemError) { return .success(try job()) } catch { return .failure(error) } }
        } catch { throw .unavailable("\(error.limit) calls wait for the disk, which is the limit") }
        switch result {
        case .success(let value): return value
        case .failure(let error): throw StoreError(error)
        }
    }
}
