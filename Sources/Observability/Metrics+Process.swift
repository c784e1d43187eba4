import Foundation

extension Metrics {
    /// Adds what Prometheus expects of every process: `process_cpu_seconds_total`, `process_resident_memory_bytes`,
    /// `process_open_fds`, `process_start_time_seconds`, read from `/proc` when the metrics are read.
    package func collectProcess() {
        let start = Date().timeIntervalSince1970
        collect { metrics in
            metrics.gauge("process_start_time_seconds", help: "Start of the process, seconds since 1970.").set(start)
            if let pages = numbers(inFile: "/proc/self/statm").dropFirst().first {
                metrics.gauge("process_resident_memory_bytes", help: "Memory in use, mapped files included.").set(pages * Double(sysconf(Int32(_SC_PAGESIZE))))
            }
            // Fields 14 and 15 of stat are user and system time; the name before them, in parentheses, may hold spaces.
            if let stat = try? String(contentsOfFile: "/proc/self/stat", encoding: .utf8), let name = stat.lastIndex(of: ")") {
                let fields = stat[name...].split(separator: " ")
                if fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) {
                    let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
                    metrics.gauge("process_cpu_seconds_total", help: "Processor time used, seconds.").set((user + system) / ticks)
                }
            }
            if let files = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
                metrics.gauge("process_open_fds", help: "Open file descriptors.").set(Double(files.count))
            }
        }
    }
}

private func numbers(inFile path: String) -> [Double] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return [] }
    return text.split(whereSeparator: \.isWhitespace).compactMap { Double($0) }
}
