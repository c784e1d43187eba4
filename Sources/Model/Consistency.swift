/// How fresh a read has to be. As text: `strong`, `bounded:<milliseconds>`, `eventual`.
package enum Consistency: Hashable, Sendable {
    /// It sees every write that was acknowledged before it began, whichever coordinator took the write.
    case strong
    /// It may miss what was acknowledged within the last so many milliseconds.
    case bounded(milliseconds: Int)
    /// It sees what the asked replica has.
    case eventual

    /// Longest staleness that may be asked for: a day.
    package static let longestBound = 86_400_000

    /// - Throws: `invalidArgument` naming the words that are known.
    package init(_ text: String) throws(ClusterError) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        switch (parts[0], parts.count) {
        case ("strong", 1): self = .strong
        case ("eventual", 1): self = .eventual
        case ("bounded", 2):
            guard let milliseconds = Int(parts[1]), (0...Self.longestBound).contains(milliseconds) else {
                throw ClusterError(.invalidArgument, "consistency: bounded takes 0…\(Self.longestBound) milliseconds, found \"\(parts[1])\"")
            }
            self = .bounded(milliseconds: milliseconds)
        default: throw ClusterError(.invalidArgument, "consistency must be strong, bounded:<milliseconds> or eventual, found \"\(text)\"")
        }
    }
}

extension Consistency: CustomStringConvertible {
    package var description: String {
        switch self {
        case .strong: "strong"
        case .bounded(let milliseconds): "bounded:\(milliseconds)"
        case .eventual: "eventual"
        }
    }
}
