/// Which of a tenant's collections a caller may touch; of all others it is told that they do not exist.
package struct CollectionScope: Hashable, Sendable, CustomStringConvertible {
    /// Every collection of the tenant, and what belongs to none.
    package static let all = CollectionScope()

    /// Names, and beginnings of names with `*` behind, in order, each once; `nil` for ``all``.
    package let patterns: [String]?
    private let names: Set<String>
    private let prefixes: [String]

    private init() {
        patterns = nil
        names = []
        prefixes = []
    }

    /// Reason: they are compared one by one, at every call.
    package static let maximumCount = 256

    /// - Parameter patterns: 1…256 names, or beginnings of names with `*` behind.
    /// - Throws: `invalidArgument` naming the limit and the value.
    package init(_ patterns: [String]) throws(ClusterError) {
        guard (1...Self.maximumCount).contains(patterns.count) else {
            throw ClusterError(.invalidArgument, "collections must have 1 to \(Self.maximumCount) names, found \(patterns.count)")
        }
        for pattern in patterns { _ = try CollectionName(pattern.hasSuffix("*") ? String(pattern.dropLast()) : pattern) }
        self.patterns = Set(patterns).sorted()
        names = Set(patterns.filter { !$0.hasSuffix("*") })
        prefixes = patterns.filter { $0.hasSuffix("*") }.map { String($0.dropLast()) }
    }

    package func contains(_ name: CollectionName) -> Bool {
        patterns == nil || names.contains(name.rawValue) || prefixes.contains { name.rawValue.hasPrefix($0) }
    }

    /// Whether every name that `other` contains is contained here.
    package func covers(_ other: CollectionScope) -> Bool {
        guard patterns != nil else { return true }
        guard let patterns = other.patterns else { return false }
        return patterns.allSatisfy { pattern in
            let isPrefix = pattern.hasSuffix("*")
            let text = isPrefix ? String(pattern.dropLast()) : pattern
            return (!isPrefix && names.contains(text)) || prefixes.contains { text.hasPrefix($0) }
        }
    }

    package var description: String { patterns?.joined(separator: ", ") ?? "all" }
}
