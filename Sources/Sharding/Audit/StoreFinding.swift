import Model

/// Something about one object of a store that is not as it should be, or not settled yet.
package struct StoreFinding: Hashable, Sendable {
    package enum Kind: String, CaseIterable, Sendable {
        /// The object's bytes are not what was written, or contradict another object.
        case damaged
        /// Another object needs it, and it is not there.
        case missing
        /// Nothing needs it, and nothing will.
        case orphan
        /// In the making, or superseded and waiting for the next seal or sweep: normal beside a running cluster.
        case pending
    }

    package var kind: Kind
    package var key: String
    package var reason: String

    package init(_ kind: Kind, _ key: String, _ reason: String) {
        self.kind = kind
        self.key = key
        self.reason = reason
    }

    /// Whether data is lost or in danger; an orphan only takes space.
    package var isProblem: Bool { kind == .damaged || kind == .missing }
}

/// What an audit found below one tenant's prefix.
package struct TenantAudit: Sendable {
    package let tenant: TenantID
    package var collections: [CollectionAudit] = []
    /// Uploaded documents.
    package var files = 0
    /// Whole ones.
    package var snapshots = 0
    /// Whatever belongs to no collection.
    package var findings: [StoreFinding] = []

    package var allFindings: [StoreFinding] { findings + collections.flatMap(\.findings) }
}

/// What an audit found of one life of a collection.
package struct CollectionAudit: Sendable {
    package enum Standing: String, Sendable {
        case live
        /// Dropped; all that may remain are the fences of its logs.
        case dropped
        /// No name stands for it: it is being made or restored, or whoever did so was killed.
        case unnamed
    }
    package let name: String?
    package let incarnation: Incarnation
    package var standing: Standing
    package var shards = 0
    package var segments = 0
    /// Bytes of segments.
    package var segmentBytes = 0
    /// Points in segments that are live as of the newest manifests.
    package var sealedPoints = 0
    /// Entries after the newest manifests, which every opening replays.
    package var logEntries = 0
    package var findings: [StoreFinding] = []
}
