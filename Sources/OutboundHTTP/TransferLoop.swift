import CCurl
import Foundation
import Synchronization

/// The thread that drives libcurl's multi interface, and the mailbox in front of it.
///
/// Only that thread touches libcurl; others leave a command and wake it.
final class TransferLoop: Sendable {
    private enum Command {
        case start(Transfer)
        case resume(Transfer)
        case abort(Transfer, HTTPClientError)
    }

    private struct Mailbox {
        var commands: [Command] = []
        var isStopping = false
        var hasStopped = false
        var stopWaiters: [CheckedContinuation<Void, Never>] = []
    }

    private let configuration: HTTPClientConfiguration
    private let mailbox = Mutex(Mailbox())
    private let multi: MultiHandle

    init(configuration: HTTPClientConfiguration) {
        self.configuration = configuration
        multi = MultiHandle()
        let thread = Thread { [self] in run() }
        thread.name = "outbound-http"
        thread.start()
    }

    func start(_ transfer: Transfer) { post(.start(transfer)) }
    func resume(_ transfer: Transfer) { post(.resume(transfer)) }

    /// Ends the transfer now for its reader, and soon on the network.
    func abort(_ transfer: Transfer, with error: HTTPClientError) {
        transfer.finish(.failure(error))
        post(.abort(transfer, error))
    }

    func abortingOnCancellation<Value>(
        of transfer: Transfer, _ read: () async throws(HTTPClientError) -> Value
    ) async throws(HTTPClientError) -> Value {
        // As a value: the handler would rethrow untyped what `read` throws.
        let result: Result<Value, HTTPClientError> = await withTaskCancellationHandler {
            do throws(HTTPClientError) { return .success(try await read()) } catch { return .failure(error) }
        } onCancel: {
            abort(transfer, with: .cancelled)
        }
        return try result.get()
    }

    func stop() {
        mailbox.withLock { $0.isStopping = true }
        multi.wakeUp()
    }

    func shutdown() async {
        stop()
        await withCheckedContinuation { continuation in
            let isOver = mailbox.withLock { mailbox in
                if !mailbox.hasStopped { mailbox.stopWaiters.append(continuation) }
                return mailbox.hasStopped
            }
            if isOver { continuation.resume() }
        }
    }

    private func post(_ command: Command) {
        let isStopping = mailbox.withLock { mailbox in
            if !mailbox.isStopping { mailbox.commands.append(command) }
            return mailbox.isStopping
        }
        if isStopping {
            if case .start(let transfer) = command { transfer.finish(.failure(.shutDown)) }
        } else {
            multi.wakeUp()
        }
    }

    // MARK: On the thread

    private func run() {
        var transfers = RunningTransfers(multi: multi, configuration: configuration)
        while true {
            let (commands, isStopping) = mailbox.withLock { mailbox in
                defer { mailbox.commands = [] }
                return (mailbox.commands, mailbox.isStopping)
            }
            for command in commands {
                switch command {
                case .start(let transfer): transfers.start(transfer)
                case .resume(let transfer): transfers.resume(transfer)
                case .abort(let transfer, let error): transfers.end(transfer.id, .failure(error))
                }
            }
            if isStopping { break }
            transfers.perform()
            multi.poll(for: transfers.timeToNextDeadline)
        }
        transfers.endAll(.shutDown)
        let waiters = mailbox.withLock { mailbox in
            defer { mailbox.stopWaiters = [] }
            mailbox.hasStopped = true
            return mailbox.stopWaiters
        }
        for waiter in waiters { waiter.resume() }
    }
}

/// Owns one `CURLM`. `wakeUp` may be called from any thread, the rest only from the loop's.
@safe final class MultiHandle: @unchecked Sendable {
    private static let initialized: Bool = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK
    let pointer: UnsafeMutableRawPointer

    init() {
        precondition(Self.initialized, "libcurl did not initialize")
        guard let multi = unsafe curl_multi_init() else { preconditionFailure("libcurl has no memory for a multi handle") }
        unsafe pointer = multi
    }
    deinit { unsafe _ = curl_multi_cleanup(pointer) }

    func wakeUp() { unsafe _ = curl_multi_wakeup(pointer) }

    /// Waits for the network, a wake-up or the time, whichever is first; libcurl shortens it to its own timers.
    func poll(for duration: Duration) {
        let (seconds, attoseconds) = duration.components
        let milliseconds = seconds * 1_000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
        unsafe _ = curl_multi_poll(pointer, nil, 0, CInt(clamping: max(0, milliseconds)), nil)
    }
}
