/// How much of a collection an answer saw: stated with every reply, so that a partial answer is never mistaken for a whole one.
package struct Coverage: Hashable, Sendable {
    package var shardsAsked: Int
    package var shardsAnswered: Int
    /// What the answering shards did, and what they hold together with the last known counts of the silent ones.
    package var work: SearchWork
    package var gaps: [Gap]
    /// Shards that answered with what they have, as nobody could say what is current. One that handed out some hits, and then no more, is among
    /// ``gaps``, too.
    package var unverified: [Unverified]

    package init(shardsAsked: Int, shardsAnswered: Int, work: SearchWork, gaps: [Gap] = [], unverified: [Unverified] = []) {
        self.unverified = unverified
        self.shardsAsked = shardsAsked
        self.shardsAnswered = shardsAnswered
        self.work = work
        self.gaps = gaps
    }

    /// What is missing could have changed the hits of several searches if it could have changed those of one; that it could not has to be known of all.
    package mutating func judgeGaps(_ one: Coverage, _ other: Coverage) {
        for index in gaps.indices {
            // A search that the shard answered lacks nothing of it.
            let judged = [one, other].map { coverage in coverage.gaps.first { $0.shard == gaps[index].shard }.map(\.couldChange) ?? false }
            gaps[index].couldChange = judged.contains(true) ? true : judged.contains(nil) ? nil : false
        }
    }

    package var isComplete: Bool { gaps.isEmpty && work.pointsUnreadable == 0 }
    package var pointsSearched: Int { work.pointsByCode + work.pointsExactly }

    /// Why one shard's part may lack acknowledged writes, though `strong` was asked for.
    package struct Unverified: Hashable, Sendable {
        package var shard: ShardID
        package var reason: ClusterError
        /// Log position that the part reflects, and how long ago the store confirmed it as the last; `nil` if that is not known.
        package var position: UInt64?
        package var age: Duration?

        package init(shard: ShardID, reason: ClusterError, position: UInt64?, age: Duration?) {
            self.shard = shard
            self.reason = reason
            self.position = position
            self.age = age
        }
    }

    /// Why one shard is missing from the answer.
    package struct Gap: Hashable, Sendable {
        package var shard: ShardID
        package var node: NodeID
        package var reason: ClusterError
        /// Points that the shard held when it last answered, if it ever did.
        package var pointsLastKnown: Int?
        /// Whether a point that the shard held at ``outlinePosition`` could stand among the hits of a search; `nil` if that is not known.
        package var couldChange: Bool?
        /// Position of the shard's log that its outline is of, if there is one here.
        package var outlinePosition: UInt64?

        package init(shard: ShardID, node: NodeID, reason: ClusterError, pointsLastKnown: Int?) {
            self.shard = shard
            self.node = node
            self.reason = reason
            self.pointsLastKnown = pointsLastKnown
        }
    }
}

/// What to do when a shard does not answer in time.
package enum PartialPolicy: String, Sendable, CaseIterable {
    /// Answer from the others and say so.
    case degrade
    /// Fail the request.
    case fail
}
