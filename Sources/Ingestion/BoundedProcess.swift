import Foundation
import Model
import Synchronization

/// Runs a program on a file, with bounds on its time, memory and output.
///
/// Input and output are files in a fresh temporary folder, never pipes: nothing can fill up and block. The bounds on processor time,
/// address space and output are set in the child by the shell's `ulimit` before it becomes the program, so the kernel keeps them.
struct BoundedProcess {
    /// Looked up in `PATH` unless it has a slash.
    var program: String
    var timeout: Duration
    var memoryBytes: Int
    var outputBytes: Int

    /// How a run ended.
    struct Outcome {
        var exitCode: Int32
        /// The process was ended by a signal, such as that of a bound.
        var isSignaled: Bool
        var output: [UInt8]
        /// The start of what it wrote to its standard error.
        var complaint: String
    }

    /// Runs `program` with `arguments`, in which `{input}` and `{output}` stand for the files' paths.
    ///
    /// - Throws: `failedPrecondition` if the program is not installed, `deadlineExceeded` if it ran for longer than `timeout`, `internal` if
    ///   the temporary folder cannot be used; the caller's cancellation, which ends the process.
    func run(on input: [UInt8], arguments: [String]) async throws -> Outcome {
        guard let path = Self.path(of: program) else {
            throw ClusterError(.failedPrecondition, "\(program) is not installed; on Debian: apt-get install poppler-utils")
        }
        let folder = FileManager.default.temporaryDirectory.appending(path: "covey-\(UUID().uuidString)")
        do {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        } catch {
            throw ClusterError(.internal, "cannot make the temporary folder \(folder.path): \(error.localizedDescription)")
        }
        defer { try? FileManager.default.removeItem(at: folder) }
        let (inputFile, outputFile, errorFile) = (folder.appending(path: "input"), folder.appending(path: "output"), folder.appending(path: "error"))
        try Data(input).write(to: inputFile)
        try Data().write(to: errorFile)
        let complaints = try FileHandle(forWritingTo: errorFile)
        defer { try? complaints.close() }

        let process = Process()
        let seconds = max(1, Int(timeout.components.seconds))
        let bounds = "ulimit -t \(seconds); ulimit -v \(memoryBytes / 1_024); ulimit -f \(outputBytes / 512); ulimit -c 0; exec \"$@\""
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", bounds, "sh", path]
            + arguments.map { $0 == "{input}" ? inputFile.path : $0 == "{output}" ? outputFile.path : $0 }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = complaints
        try await wait(for: process)
        let output = (try? Data(contentsOf: outputFile, options: .mappedIfSafe)).map { [UInt8]($0) } ?? []
        let complaint = (try? Data(contentsOf: errorFile)).map { String(decoding: $0.prefix(500), as: UTF8.self) } ?? ""
        return Outcome(
            exitCode: process.terminationStatus, isSignaled: process.terminationReason == .uncaughtSignal, output: output,
            complaint: complaint.split(whereSeparator: \.isNewline).first.map(String.init) ?? "")
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
        guard isTimely else { throw ClusterError(.deadlineExceeded, "\(program) ran longer than \(timeout), the limit of pdfTimeout") }
    }

    /// Where `program` is, if it can be run.
    private static func path(of program: String) -> String? {
        if program.contains("/") { return FileManager.default.isExecutableFile(atPath: program) ? program : nil }
        return ["/usr/local/bin", "/usr/bin", "/bin"].lazy.map { "\($0)/\(program)" }.first { FileManager.default.isExecutableFile(atPath: $0) }
    }
}
