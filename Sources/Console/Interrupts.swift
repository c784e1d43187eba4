import Dispatch
import Foundation
import Synchronization

/// What Ctrl-C means: it cancels the work at hand; while nothing is at work it ends the waiting for a line.
package final class Interrupts: Sendable {
    private struct State {
        var cancelWork: (@Sendable () -> Void)?
        var line: CheckedContinuation<String?, Never>?
        var source: (any DispatchSourceSignal)?
    }
    private let state = Mutex(State())

    /// - Parameter handlesSignal: Whether to take over the process's SIGINT.
    package init(handlesSignal: Bool) {
        guard handlesSignal else { return }
        signal(SIGINT, SIG_IGN)  // the source below sees it nevertheless
        state.withLock { state in
            let source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
            source.setEventHandler { [weak self] in self?.interrupt() }
            source.resume()
            state.source = source
        }
    }

    deinit { state.withLock { $0.source?.cancel() } }

    /// Does what Ctrl-C does.
    package func interrupt() {
        let (cancel, line) = state.withLock { state in
            defer { state.line = nil }
            return (state.cancelWork, state.line)
        }
        if let cancel { cancel() } else { line?.resume(returning: nil) }
    }

    /// Runs the work in a task that Ctrl-C cancels; waits for it.
    func interruptible<Value: Sendable>(_ work: @escaping @Sendable () async -> Value) async -> Value {
        let task = Task(operation: work)
        state.withLock { $0.cancelWork = { task.cancel() } }
        defer { state.withLock { $0.cancelWork = nil } }
        return await withTaskCancellationHandler { await task.value } onCancel: { task.cancel() }
    }

    /// The next line, or `nil` at the end of the input or after Ctrl-C. The reading blocks a thread of its own: after Ctrl-C it
    /// is left behind, so no further line can be asked for.
    func line(_ read: @escaping @Sendable () -> String?) async -> String? {
        await withCheckedContinuation { continuation in
            state.withLock { $0.line = continuation }
            Thread.detachNewThread { [self] in
                let line = read()
                state.withLock { state in
                    defer { state.line = nil }
                    return state.line
                }?.resume(returning: line)
            }
        }
    }
}
