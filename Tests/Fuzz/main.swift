import Foundation
import FuzzTargets

// libFuzzer around one parser: `covey-fuzz NAME options…`, built and called by `cluster/fuzz`. `covey-fuzz NAME --seeds FOLDER` writes the sound inputs
// that it begins with.

/// Of libFuzzer (LLVM).
@_silgen_name("LLVMFuzzerRunDriver")
private func runFuzzer(
    _ count: UnsafeMutablePointer<CInt>, _ words: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ test: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

private nonisolated(unsafe) var target: FuzzTarget!

private var arguments = CommandLine.arguments
// libFuzzer starts itself anew for some of its work, without the name.
if let name = ProcessInfo.processInfo.environment["COVEY_FUZZ"] { arguments.insert(name, at: 1) }
guard arguments.count > 1, let named = FuzzTarget.named(arguments[1]) else {
    print("usage: covey-fuzz NAME options…, where NAME is one of \(FuzzTarget.all.map(\.name).joined(separator: " "))")
    exit(2)
}
target = named
if arguments.count == 4, arguments[2] == "--seeds" {
    for (index, seed) in named.seeds().enumerated() { try Data(seed).write(to: URL(filePath: "\(arguments[3])/seed-\(index)")) }
    exit(0)
}
setenv("COVEY_FUZZ", arguments.remove(at: 1), 1)
arguments.insert("-max_len=\(named.maximumBytes)", at: 1)
private var words = arguments.map { strdup($0) } + [nil]
private var count = CInt(arguments.count)
words.withUnsafeMutableBufferPointer { buffer in
    var start = buffer.baseAddress!
    exit(
        runFuzzer(&count, &start) { bytes, count in
            target.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
            return 0
        })
}
