import ArgumentParser
import Foundation
import Simulation

struct SimulateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate", abstract: "Run whole clusters on simulated machines that fail, and hold every answer to what was promised.",
        discussion: """
            A seed decides the cluster, its faults and the order of all that happens: one that failed fails again. Prints a line for each failed \
            seed and a summary; ends with 1 if any failed.
            """)
    @Option(help: "The seed to run.") var seed: UInt64?
    @Option(help: "Seeds to run, as FIRST-LAST.") var seeds: String?
    @Option(help: "Operations of each of the four clients.") var operations = 60
    @Flag(help: "Print a line for each seed.") var verbose = false
    @Flag(help: "Print what the processes log to standard error; the run begins at 1970-01-01T00:00:00Z.") var log = false

    func run() throws {
        // The order of sets and dictionaries is part of a run.
        if ProcessInfo.processInfo.environment["SWIFT_DETERMINISTIC_HASHING"] == nil {
            setenv("SWIFT_DETERMINISTIC_HASHING", "1", 1)
            var arguments: [UnsafeMutablePointer<CChar>?] = unsafe CommandLine.arguments.map { unsafe strdup($0) } + [nil]
            unsafe execv("/proc/self/exe", &arguments)
            throw ValidationError("the program cannot be started again with a fixed hash seed: errno \(errno)")
        }
        var (clean, failed, faults, claims, splits, merges, acknowledged, reads) = (0, [UInt64](), 0, 0, 0, 0, 0, 0)
        var (snapshots, cuts, expired) = (0, 0, 0)
        var (judged, harmless) = (0, 0)
        for seed in try range() {
            let report = Simulation.run(seed: seed, operations: operations, logs: log)
            if report.violations.isEmpty { clean += 1 } else { failed.append(seed) }
            faults += report.faults
            claims += report.claims
            splits += report.splits
            merges += report.merges
            snapshots += report.snapshots
            cuts += report.cuts
            expired += report.expired
            acknowledged += report.acknowledged
            reads += report.reads
            judged += report.judged
            harmless += report.harmless
            if verbose || !report.violations.isEmpty || self.seed != nil {
                print(
                    "seed \(seed): \(report.violations.isEmpty ? "clean" : "FAILED"), \(report.operations) operations, \(report.acknowledged) writes acknowledged, "
                        + "\(report.failed) not, \(report.reads) reads checked, \(report.faults) faults, \(report.claims) claims, \(report.splits) splits, \(report.merges) merges, \(report.snapshots) snapshots, \(report.elapsed.components.seconds) s simulated, "
                        + "trace \(String(report.trace, radix: 16))")
                for violation in report.violations { print("    \(violation)") }
            }
        }
        print("\(clean) seeds clean, \(failed.count) failed; \(acknowledged) writes acknowledged, \(expired) expired, \(reads) reads checked, \(faults) faults, \(claims) claims, \(splits) splits, \(merges) merges, \(snapshots) snapshots, \(cuts) of them causal, \(judged) gaps judged, \(harmless) harmless")
        guard failed.isEmpty else { throw ExitCode(1) }
    }

    private func range() throws -> ClosedRange<UInt64> {
        if let seed, seeds == nil { return seed...seed }
        let parts = (seeds ?? "").split(separator: "-").compactMap { UInt64($0) }
        guard seed == nil, parts.count == 2, parts[0] <= parts[1] else { throw ValidationError("give --seed N or --seeds FIRST-LAST, found --seeds \"\(seeds ?? "")\"") }
        return parts[0]...parts[1]
    }
}
