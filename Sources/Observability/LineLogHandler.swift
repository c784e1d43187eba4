import Foundation
import Logging

/// Writes one line a record: time (UTC), level, node, message, then `key=value` for each piece of metadata in ascending order.
///
///     2026-11-23T01:54:37.123Z WARN coordinator answer is partial collection=docs request=4f1c… shards="3/4" tenant=default
///
/// A value with a space, a quote, `=` or a control character is quoted and escaped, so that a record is always one line
/// and nothing that a client sent can look like another record.
package struct LineLogHandler: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?
    package var logLevel: Logger.Level
    private let node: String
    private let format: LogConfiguration.Format
    private let now: @Sendable () -> Date
    private let write: @Sendable (String) -> Void

    /// - Parameters:
    ///   - node: The node's name, the same on every line.
    ///   - write: Takes one finished line with its line feed.
    package init(
        node: String, level: Logger.Level, format: LogConfiguration.Format = .text, now: @escaping @Sendable () -> Date = { Date() },
        write: @escaping @Sendable (String) -> Void = LineLogHandler.writeToStandardError
    ) {
        self.node = node
        self.logLevel = level
        self.format = format
        self.now = now
        self.write = write
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var fields = metadata
        if let provided = metadataProvider?.get() { fields.merge(provided) { _, new in new } }
        if let own = event.metadata { fields.merge(own) { _, new in new } }
        if let error = event.error { fields["error"] = "\(error)" }
        let values = fields.map { (key: $0.key, value: "\($0.value)") }.sorted { $0.key < $1.key }
        let time = now().formatted(.iso8601.year().month().day().time(includingFractionalSeconds: true))
        let name = LineLogHandler.name(of: event.level)
        switch format {
        case .text:
            var line = "\(time)Z \(name) \(LineLogHandler.printable(node)) \(LineLogHandler.escaped("\(event.message)"))"
            for (key, value) in values { line += " \(LineLogHandler.printable(key))=\(LineLogHandler.printable(value))" }
            write(line + "\n")
        case .json:
            var pairs = [("time", "\(time)Z"), ("level", name), ("node", node), ("message", "\(event.message)")]
            // A field that is called like one of the four would make a key stand twice.
            pairs += values.map { (key, value) in (["time", "level", "node", "message"].contains(key) ? "field.\(key)" : key, value) }
            write("{" + pairs.map { "\"\(LineLogHandler.escaped($0.0))\":\"\(LineLogHandler.escaped($0.1))\"" }.joined(separator: ",") + "}\n")
        }
    }

    /// One `write` a line, so that lines of several threads do not mix.
    package static let writeToStandardError: @Sendable (String) -> Void = { line in
        try? FileHandle.standardError.write(contentsOf: Data(line.utf8))
    }

    private static func name(of level: Logger.Level) -> String {
        level == .warning ? "WARN" : level.rawValue.uppercased()
    }

    /// The value as it is, or quoted if it would not be one word.
    private static func printable(_ value: String) -> String {
        let isWord = !value.isEmpty && !value.unicodeScalars.contains { isEscaped($0) || $0.properties.isWhitespace || $0 == "=" }
        return isWord ? value : "\"\(escaped(value))\""
    }

    /// Quotes, backslashes, control characters and the line separators that Unicode adds.
    private static func isEscaped(_ scalar: Unicode.Scalar) -> Bool {
        scalar == "\"" || scalar == "\\" || scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) || (0x2028...0x2029).contains(scalar.value)
    }

    /// JSON's escapes.
    private static func escaped(_ value: String) -> String {
        var result = ""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where isEscaped(scalar):
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
