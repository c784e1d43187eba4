/// Which tenants are worth a label value of their own, in memory that does not grow with the number of tenants.
///
/// The counts are a Space-Saving sketch: a tenant that is not among those counted takes the place of the least busy and
/// inherits its count, so a tenant with more than 1/`capacity` of the requests is always counted. A named tenant loses its
/// name only to one at least twice as busy: names that flap would make the series useless.
///
/// - SeeAlso: Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams", ICDT 2005.
struct BusiestTenants: Sendable {
    private let limit: Int
    private let capacity: Int
    private var counts: [String: Int] = [:]
    private var named: Set<String> = []
    private var noted = 0

    /// After so many requests all counts are halved, so that yesterday's load does not decide today's names.
    private static let halvingInterval = 100_000

    init(limit: Int) {
        precondition(limit > 0, "\(limit) tenants with a name")
        self.limit = limit
        capacity = limit * 8
    }

    /// Counts one request.
    ///
    /// - Returns: Whether the tenant has a name now, and which tenant lost its own for that.
    mutating func note(_ tenant: String) -> (isNamed: Bool, evicted: String?) {
        count(tenant)
        if named.contains(tenant) { return (true, nil) }
        if named.count < limit {
            named.insert(tenant)
            return (true, nil)
        }
        guard let least = named.min(by: { rank($0) < rank($1) }), counts[tenant, default: 0] >= 2 * max(1, counts[least, default: 0]) else {
            return (false, nil)
        }
        named.remove(least)
        named.insert(tenant)
        return (true, least)
    }

    private mutating func count(_ tenant: String) {
        noted += 1
        if noted.isMultiple(of: Self.halvingInterval) { counts = counts.mapValues { $0 / 2 } }
        if let seen = counts[tenant] {
            counts[tenant] = seen + 1
        } else if counts.count < capacity {
            counts[tenant] = 1
        } else {
            let least = counts.keys.min { rank($0) < rank($1) }!
            counts[tenant] = counts.removeValue(forKey: least)! + 1
        }
    }

    private func rank(_ tenant: String) -> (Int, String) { (counts[tenant, default: 0], tenant) }
}
