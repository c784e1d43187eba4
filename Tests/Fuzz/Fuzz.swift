import FuzzTargets
import Foundation

// Built by `cluster/fuzz` with a fuzzer's main (libFuzzer's, LLVM); without one it replays inputs.

private let target: FuzzTarget = {
    let name = ProcessInfo.processInfo.environment["COVEY_FUZZ"] ?? ""
    guard let target = FuzzTarget.named(name) else {
        print("COVEY_FUZZ must be one of \(FuzzTarget.all.map(\.name).joined(separator: ", ")), found \"\(name)\"")
        exit(2)
    }
    return target
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    target.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}

/// Writes the sound inputs that the target begins with into the folder that `COVEY_FUZZ_SEEDS` names.
@_cdecl("LLVMFuzzerInitialize")
public func prepare(_ count: UnsafeMutablePointer<CInt>?, _ words: UnsafeMutableRawPointer?) -> CInt {
    guard let folder = ProcessInfo.processInfo.environment["COVEY_FUZZ_SEEDS"] else { return 0 }
    for (index, seed) in target.seeds().enumerated() { try? Data(seed).write(to: URL(filePath: "\(folder)/seed-\(index)")) }
    return 0
}
