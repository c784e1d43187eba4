import Foundation
import Model
import Synchronization

/// Runs a program on a file, with bounds on its time, memory and output.
///
/// Input and output are files in a fresh temporary folder, never pipes: nothing can fill up and block. The bounds on processor time,
/// address space and output are set by `prlimit` before it becomes the program, so the kernel keeps them; no shell is involved. At most
/// one such program a core runs at a time.
struct BoundedProcess {
    /// Looked up in /usr/local/bin, /usr/bin and /bin unless it has a slash.
    var program: String
    /// Debian's package that brings it.
    var package: String
    var timeout: Duration
    /// What the setting of `timeout` is called.
    var timeoutName: String
    var memoryBytes: Int
    var outputBytes: Int
    /// Takes standard output for the output file, of programs that write nowhere else.
    var capturesOutput = false

    /// How a run ended.
    struct Outcome {
        var exitCode: Int32
        /// The process was ended by a signal, such as that of a bound.
        var isSignaled: Bool
        var output: [UInt8]
        /// The start of what it wrote to its standard error.
        var complaint: String
    }

    private static let slots = Slots(count: max(1, ProcessInfo.processInfo.activeProcessorCount))

    /// Whether the program can be run here.
    var isInstalled: Bool { Self.path(of: program) != nil }

    /// Runs `program` with `arguments`, in which `{input}`, `{output}` and the names of `files` in braces stand for the files' paths.
    ///
    /// - Throws: `failedPrecondition` if the program is not installed, `deadlineExceeded` if it ran for longer than `timeout`, `internal` if
    ///   the temporary folder cannot be used; the caller's cancellation, which ends the process.
    func run(on input: [UInt8], arguments: [String], files: [String: String] = [:]) async throws -> Outcome {
        guard let path = Self.path(of: program) else {
            throw ClusterError(.failedPrecondition, "\(program) is not installed where documents are read; on Debian: apt-get install \(package)")
        }
        return try await Self.slots.withSlot { try await run(path, on: input, arguments, files) }
    }

    private func run(_ path: String, on input: [UInt8], _ arguments: [String], _ files: [String: String]) async throws -> Outcome {
        let folder = FileManager.default.temporaryDirectory.appending(path: "covey-\(UUID().uuidString)")
        do {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        } catch {
            throw ClusterError(.internal, "cannot make the temporary folder \(folder.path): \(error.localizedDescription)")
        }
        defer { try? FileManager.default.removeItem(at: folder) }
        var paths = ["{input}": folder.appending(path: "input").path, "{output}": folder.appending(path: "output").path]
        try Data(input).write(to: folder.appending(path: "input"))
        for (name, content) in files {
            paths["{\(name)}"] = folder.appending(path: name).path
            try Data(content.utf8).write(to: folder.appending(path: name))
        }
        let (outputFile, errorFile) = (folder.appending(path: "output"), folder.appending(path: "error"))
        for file in [outputFile, errorFile] { try Data().write(to: file) }
        let (results, complaints) = (try FileHandle(forWritingTo: outputFile), try FileHandle(forWritingTo: errorFile))
        defer {
            try? results.close()
            try? complaints.close()
        }

        let process = Process()
        let seconds = max(1, Int(timeout.components.seconds))
        process.executableURL = URL(fileURLWithPath: Self.path(of: "prlimit") ?? "/usr/bin/prlimit")
        process.arguments = ["--cpu=\(seconds)", "--as=\(memoryBytes)", "--fsize=\(outputBytes)", "--core=0", "--", path] + arguments.map { paths[$0] ?? $0 }
        // Programs find nothing of the server's settings here, and no home to read files from.
        process.environment = ["PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": folder.path, "TMPDIR": folder.path]
        process.currentDirectoryURL = folder
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = capturesOutput ? results : FileHandle.nullDevice
        process.standardError = complaints
        try await wait(for: process)
        let output = (try? Data(contentsOf: outputFile, options: .mappedIfSafe)).map { [UInt8]($0) } ?? []
        let complaint = (try? Data(contentsOf: errorFile)).map { String(decoding: $0.prefix(500), as: UTF8.self) } ?? ""
        return Outcome(
            exitCode: process.terminationStatus, isSignaled: process.terminationReason == .uncaughtSignal, output: output,
            complaint: complaint.split(whereSeparator: \.isNewline).first.map { String($0).replacing(folder.path + "/", with: "") } ?? "")
    }

    /// Starts the process and returns once it has ended; ends it itself when the time is over or the caller is cancelled.
    private func wait(for process: Process) async throws {
        let (ended, continuation) = AsyncStream.makeStream(of: Void.self)
        process.terminationHandler = { _ in continuation.finish() }
        do {
            try process.run()
        } catch {
            throw ClusterError(.internal, "cannot run \(program): \(error.localizedDescription)")
        }
        let identifier = process.processIdentifier
        let isTimely = await withTaskCancellationHandler {
            await withTaskGroup(of: Bool.self) { group in
                group.addTask {
                    for await _ in ended {}
                    return true
                }
                group.addTask {
                    try? await Task.sleep(for: timeout)
                    return false
                }
                let isTimely = await group.next() ?? true
                if !isTimely, process.isRunning { kill(identifier, SIGKILL) }
                group.cancelAll()
                return isTimely
            }
        } onCancel: {
            if process.isRunning { kill(identifier, SIGKILL) }
        }
        process.waitUntilExit()  // it has ended or was killed, but may not have been noticed yet
        try Task.checkCancellation()
        guard isTimely else { throw ClusterError(.deadlineExceeded, "\(program) ran longer than \(timeout), the limit of \(timeoutName)") }
    }

    /// Where `program` is, if it can be run.
    private static func path(of program: String) -> String? {
        if program.contains("/") { return FileManager.default.isExecutableFile(atPath: program) ? program : nil }
        return ["/usr/local/bin", "/usr/bin", "/bin"].lazy.map { "\($0)/\(program)" }.first { FileManager.default.isExecutableFile(atPath: $0) }
    }
}

/// Lets a number of tasks in at a time; the others wait in the order of their coming.
private final class Slots: Sendable {
    private struct State {
        var free: Int
        var waiting: [(id: Int, continuation: CheckedContinuation<Bool, Never>)] = []
        var nextID = 0
    }
    private let state: Mutex<State>

    init(count: Int) { state = Mutex(State(free: count)) }

    func withSlot<Value: Sendable>(_ work: () async throws -> Value) async throws -> Value {
        guard await enter() else { throw CancellationError() }
        defer { leave() }
        return try await work()
    }

    /// Returns whether a slot was got; `false` if the caller was cancelled first.
    private func enter() async -> Bool {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isIn: Bool? = state.withLock { state in
                    if Task.isCancelled { return false }
                    if state.free > 0 {
                        state.free -= 1
                        return true
                    }
                    state.waiting.append((id, continuation))
                    return nil
                }
                if let isIn { continuation.resume(returning: isIn) }
            }
        } onCancel: {
            state.withLock { state in
                state.waiting.firstIndex { $0.id == id }.map { state.waiting.remove(at: $0).continuation }
            }?.resume(returning: false)
        }
    }

    private func leave() {
        state.withLock { state -> CheckedContinuation<Bool, Never>? in
            guard !state.waiting.isEmpty else {
                state.free += 1
                return nil
            }
            return state.waiting.removeFirst().continuation
        }?.resume(returning: true)
    }
}
