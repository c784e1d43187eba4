import Foundation
import Logging
import Observability
import Synchronization
import Testing

@Suite("Log lines") struct LineLogHandlerTests {
    private final class Lines: Sendable {
        let all = Mutex<[String]>([])
        func logger(format: LogConfiguration.Format = .text, level: Logger.Level = .info) -> Logger {
            Logger(label: "test") { _ in
                LineLogHandler(node: "node-1", level: level, format: format, now: { Date(timeIntervalSince1970: 1_795_398_877.125) }) { line in
                    self.all.withLock { $0.append(line) }
                }
            }
        }
        var text: [String] { all.withLock { $0 } }
    }

    @Test("a record is one line with time, level, node, message and metadata in order")
    func text() {
        let lines = Lines()
        var logger = lines.logger()
        logger[metadataKey: "tenant"] = "acme"
        logger.warning("answer is partial", metadata: ["request": "r-1", "shards": "3/4", "reason": "node is away"])
        #expect(lines.text == ["2026-11-23T01:54:37.125Z WARN node-1 answer is partial reason=\"node is away\" request=r-1 shards=3/4 tenant=acme\n"])
    }

    @Test("nothing that a client sent makes a second line or a field of its own", arguments: ["a\nINFO forged", "x\" y=\"z", "\u{2028}", "\u{1b}[31m", "", "a=b"])
    func injection(value: String) {
        let lines = Lines()
        lines.logger().info("m", metadata: ["v": "\(value)"])
        let line = lines.text[0]
        #expect(line.hasSuffix("\"\n"))
        #expect(line.dropLast().unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x2028 })
        #expect(line.contains(" v=\""))
    }

    @Test("as JSON a record is one object, whatever its fields are called")
    func json() throws {
        let lines = Lines()
        lines.logger(format: .json).error("went \"wrong\"\n", metadata: ["message": "other", "node": "n", "request": "r"])
        let object = try #require(try JSONSerialization.jsonObject(with: Data(lines.text[0].utf8)) as? [String: String])
        #expect(object == [
            "time": "2026-11-23T01:54:37.125Z", "level": "ERROR", "node": "node-1", "message": "went \"wrong\"\n", "field.message": "other",
            "field.node": "n", "request": "r",
        ])
    }

    @Test("records below the level are not written")
    func level() {
        let lines = Lines()
        lines.logger(level: .warning).info("quiet")
        #expect(lines.text.isEmpty)
    }
}
