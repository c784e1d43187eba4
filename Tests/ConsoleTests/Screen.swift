import Console
import Synchronization

/// A terminal that keeps what it was given.
final class Screen: Sendable {
    private let lines = Mutex((output: "", notices: ""))
    var output: String { lines.withLock { $0.output } }
    var notices: String { lines.withLock { $0.notices } }
    func terminal(isWatched: Bool = false) -> Terminal {
        Terminal(
            isWatched: isWatched, output: { text in self.lines.withLock { $0.output += text } },
            notice: { text in self.lines.withLock { $0.notices += text } })
    }
}
