import Logging

/// What a process logs, and how.
package struct LogConfiguration: Sendable {
    package enum Format: String, Sendable, CaseIterable {
        /// `time level node message key=value…`
        case text
        /// One JSON object a line.
        case json
    }
    /// Records below it are not written. Default: `info`, a few lines per start and per fault, none per healthy request.
    package var level: Logger.Level = .info
    /// Levels of single loggers by their label, which is a module's name: `Sharding` → `debug`. Default: none.
    package var levels: [String: Logger.Level] = [:]
    /// Default: `text`, for people; `json` for collectors.
    package var format: Format = .text

    package init() {}

    /// Makes every `Logger` of the process write to standard error; call it once, before the first one is made.
    package func bootstrap(node: String) {
        LoggingSystem.bootstrap { label in
            LineLogHandler(node: node, level: levels[label] ?? level, format: format)
        }
    }
}
