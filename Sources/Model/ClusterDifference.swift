/// What one record of the cluster changes in another, for people.
package struct ClusterDifference: Sendable, CustomStringConvertible {
    package private(set) var joining: [ClusterMember] = []
    package private(set) var leaving: [ClusterMember] = []
    /// With another weight, zone or address.
    package private(set) var changed: [(before: ClusterMember, after: ClusterMember)] = []
    /// `nil` if it stays.
    package private(set) var replicas: (before: Int, after: Int)?

    package init(from before: ClusterRecord, to after: ClusterRecord) {
        let known = Dictionary(before.members.map { ($0.node, $0) }) { first, _ in first }
        let wanted = Set(after.members.map(\.node))
        leaving = before.members.filter { !wanted.contains($0.node) }
        for member in after.members {
            switch known[member.node] {
            case nil: joining.append(member)
            case let old? where old != member: changed.append((old, member))
            default: break
            }
        }
        if before.replicas != after.replicas { replicas = (before.replicas, after.replicas) }
    }

    package var isEmpty: Bool { joining.isEmpty && leaving.isEmpty && changed.isEmpty && replicas == nil }

    package var description: String {
        var parts = joining.map { "\($0.node) joins" } + leaving.map { "\($0.node) leaves" }
        for (before, after) in changed {
            if before.address != after.address { parts.append("\(after.node) moves from \(before.address) to \(after.address)") }
            if before.weight != after.weight { parts.append("\(after.node) has weight \(after.weight), not \(before.weight)") }
            if before.zone != after.zone { parts.append("\(after.node) is in \(after.zone.map { "zone \($0)" } ?? "a zone of its own"), not in \(before.zone.map { "zone \($0)" } ?? "one of its own")") }
        }
        if let replicas { parts.append("\(replicas.after) replicas, not \(replicas.before)") }
        return parts.joined(separator: "; ")
    }
}
