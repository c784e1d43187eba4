/// One parser of what strangers, other nodes or disks say, as a fuzzer drives it: any bytes may come, and nothing may crash, hang or contradict itself.
package struct FuzzTarget: Sendable {
    package let name: String
    /// Longest input worth trying, in bytes.
    package let maximumBytes: Int
    /// Sound inputs to begin with.
    package let seeds: @Sendable () -> [[UInt8]]
    /// Parses an input, and traps where the outcome is no error and not right either.
    package let run: @Sendable ([UInt8]) -> Void

    init(_ name: String, maximumBytes: Int = 4_096, seeds: @autoclosure @escaping @Sendable () -> [[UInt8]], run: @escaping @Sendable ([UInt8]) -> Void) {
        self.name = name
        self.maximumBytes = maximumBytes
        self.seeds = seeds
        self.run = run
    }

    package static let all: [FuzzTarget] = network + storage + requests + documents + settings

    package static func named(_ name: String) -> FuzzTarget? { all.first { $0.name == name } }
}

/// Input as several values: the first byte chooses, the rest is what is parsed.
func choice(_ bytes: [UInt8], of count: Int) -> (index: Int, rest: [UInt8])? {
    guard let first = bytes.first else { return nil }
    return (Int(first) % count, Array(bytes.dropFirst()))
}
