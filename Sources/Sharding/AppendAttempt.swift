import Storage

/// Bringing one entry into the log: what to do next, given what the store said. It knows that "unknown" is never
/// "failed" (protocol, H5) and that only an object seen with a foreign nonce proves defeat (H6).
struct AppendAttempt {
    let entry: LogEntry
    /// Undecided replies left before the writer steps down.
    private var patience: Int

    init(_ entry: LogEntry, patience: Int = 6) {
        self.entry = entry
        self.patience = patience
    }

    enum Reply {
        case created
        case exists
        /// No reply, or one that says nothing about the outcome.
        case undecided
    }

    enum Action: Equatable {
        /// Put the same bytes at the same position.
        case put
        /// Get the object at the position and compare.
        case read
        case committed
        /// Another writer has the position.
        case defeated(by: LogEntry)
        /// The outcome stays unknown: the writer must not write this log again.
        case stepDown
    }

    mutating func putReplied(_ reply: Reply) -> Action {
        switch reply {
        case .created: .committed
        case .exists: .read
        case .undecided: again(.put)
        }
    }

    /// `nil` if the object was not there or could not be read.
    mutating func readReplied(_ found: LogEntry?) -> Action {
        guard let found else { return again(.put) }
        return found.nonce == entry.nonce && found.writer == entry.writer ? .committed : .defeated(by: found)
    }

    private mutating func again(_ action: Action) -> Action {
        patience -= 1
        return patience > 0 ? action : .stepDown
    }
}
