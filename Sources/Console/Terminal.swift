import Foundation

/// Where a verb writes: results to standard output, everything else to standard error.
package struct Terminal: Sendable {
    /// Whether a person watches standard error: then progress may be drawn in place.
    package var isWatched: Bool
    /// Columns of the window. Default when it is not known: 80.
    package var width: Int
    private let output: @Sendable (String) -> Void
    private let notice: @Sendable (String) -> Void

    package init(
        isWatched: Bool, width: Int = 80, output: @escaping @Sendable (String) -> Void, notice: @escaping @Sendable (String) -> Void
    ) {
        self.isWatched = isWatched
        self.width = width
        self.output = output
        self.notice = notice
    }

    /// The process's own streams.
    package static var standard: Terminal {
        var size = winsize()
        let isKnown = unsafe ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
        return Terminal(
            isWatched: isatty(STDERR_FILENO) == 1, width: isKnown ? Int(size.ws_col) : 80,
            output: { try? FileHandle.standardOutput.write(contentsOf: Data($0.utf8)) },
            notice: { try? FileHandle.standardError.write(contentsOf: Data($0.utf8)) })
    }

    /// A line of the result.
    func print(_ line: String = "") { output(line + "\n") }
    /// A piece of the result, without a line feed.
    func write(_ text: String) { output(text) }
    /// A line about the work.
    func note(_ line: String) { notice(line + "\n") }
    /// Draws over the current line of a watched terminal.
    func redraw(_ line: String) { notice("\r\u{1b}[K" + line) }

    /// Text from documents or a model, without what would command the terminal.
    static func harmless(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars where scalar == "\n" || scalar == "\t" || !(scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)) {
            result.unicodeScalars.append(scalar)
        }
        return result
    }
}
