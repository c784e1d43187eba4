import Synchronization

/// Shows how far a number of like tasks has come: a bar with rate and time left on a terminal, a plain line for each tenth
/// of the work in a pipe.
package final class ProgressLine: Sendable {
    private struct State {
        var done = 0
        var tenths = 0
        var lastDrawn: ContinuousClock.Instant?
    }
    private let state = Mutex(State())
    private let total: Int
    private let unit: String
    private let terminal: Terminal
    private let now: @Sendable () -> ContinuousClock.Instant
    private let started: ContinuousClock.Instant

    package init(total: Int, unit: String, terminal: Terminal, now: @escaping @Sendable () -> ContinuousClock.Instant = { ContinuousClock.now }) {
        self.total = total
        self.unit = unit
        self.terminal = terminal
        self.now = now
        started = now()
    }

    package func advance() {
        state.withLock { state in
            state.done += 1
            let now = now()
            if terminal.isWatched {
                // Ten times a second is as often as an eye follows.
                if let last = state.lastDrawn, last.duration(to: now) < .milliseconds(100), state.done < total { return }
                state.lastDrawn = now
                terminal.redraw(bar(state.done, now))
            } else if state.done * 10 / max(total, 1) > state.tenths {
                state.tenths = state.done * 10 / max(total, 1)
                terminal.note("\(state.done) of \(total) \(unit), \(rate(state.done, now))")
            }
        }
    }

    /// A line that stays, above the bar.
    package func note(_ line: String) {
        state.withLock { state in
            if terminal.isWatched { terminal.redraw("") }
            terminal.note(line)
            if terminal.isWatched { terminal.redraw(bar(state.done, now())) }
        }
    }

    /// Removes the bar.
    package func finish() { if terminal.isWatched { terminal.redraw("") } }

    private func bar(_ done: Int, _ now: ContinuousClock.Instant) -> String {
        let text = " \(done)/\(total) \(unit) · \(rate(done, now))"
        let room = max(0, min(30, terminal.width - text.count - 3))
        let filled = total == 0 ? room : room * done / total
        return "[" + String(repeating: "█", count: filled) + String(repeating: "░", count: room - filled) + "]" + text
    }

    private func rate(_ done: Int, _ now: ContinuousClock.Instant) -> String {
        let seconds = started.duration(to: now) / .seconds(1)
        guard seconds > 0, done > 0 else { return "…" }
        let perSecond = Double(done) / seconds
        let left = Int((Double(total - done) / perSecond).rounded(.up))
        let rate = perSecond >= 10 ? String(Int(perSecond.rounded())) : String((perSecond * 10).rounded() / 10)
        return "\(rate)/s" + (left > 0 ? " · \(ProgressLine.clock(left)) left" : "")
    }

    /// `1:05`, `2:03:04`.
    static func clock(_ seconds: Int) -> String {
        func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60)
        return hours > 0 ? "\(hours):\(two(minutes)):\(two(rest))" : "\(minutes):\(two(rest))"
    }
}
