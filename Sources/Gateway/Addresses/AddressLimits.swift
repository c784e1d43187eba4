import Model
import Observability
import Synchronization

/// What one client address may take of the public port: open connections, requests a second, wrong keys. Addresses count as ``IPAddress/client``.
///
/// Memory is bounded: connections by those that are open, the rest by ``maximumRemembered`` entries of some 100 bytes each.
package final class AddressLimits: Sendable {
    /// A number of events at once, and as many again within a time.
    package struct Rate: Sendable {
        package var perSecond: Double
        package var burst: Int?

        package init(perSecond: Double, burst: Int? = nil) {
            self.perSecond = perSecond
            self.burst = burst
        }
    }

    package enum Admission: Hashable, Sendable {
        case admitted
        /// - Parameter isFirst: Since the address had no connection.
        case refused(isFirst: Bool)
    }

    private struct Connections {
        var count = 0
        var hasRefused = false
    }
    private struct UsedKey: Hashable {
        var address: IPAddress
        var tenant: TenantID
        var name: String
    }

    /// Addresses that are remembered for their requests, for wrong keys, and pairs of an address and a good key. Beyond it those that matter least
    /// are forgotten: buckets that are next to full, pairs that were not seen for the longest time.
    package static let maximumRemembered = 1 << 14

    private let maximumConnections: Int
    private let requests: Rate?
    private let wrongKeys: Rate?
    private let connections = Mutex<[IPAddress: Connections]>([:])
    private let requestBuckets = TokenBuckets<IPAddress>(maximumCount: maximumRemembered)
    private let wrongKeyBuckets = TokenBuckets<IPAddress>(maximumCount: maximumRemembered)
    private let usedKeys = Mutex<[UsedKey: ContinuousClock.Instant]>([:])

    /// - Parameters:
    ///   - requests: `nil`: as many as come.
    ///   - wrongKeys: `nil`: as many as come.
    package init(maximumConnections: Int, requests: Rate? = nil, wrongKeys: Rate? = nil) {
        self.maximumConnections = maximumConnections
        self.requests = requests
        self.wrongKeys = wrongKeys
    }

    // MARK: Connections

    /// Counts a connection, which ``leave(_:)`` takes back, if the address may have one more.
    package func enter(_ address: IPAddress) -> Admission {
        connections.withLock { open in
            var own = open[address.client] ?? Connections()
            defer { open[address.client] = own }
            guard own.count >= maximumConnections else {
                own.count += 1
                return .admitted
            }
            defer { own.hasRefused = true }
            return .refused(isFirst: !own.hasRefused)
        }
    }

    package func leave(_ address: IPAddress) {
        connections.withLock { open in
            guard var own = open[address.client] else { return }
            own.count -= 1
            open[address.client] = own.count > 0 ? own : nil
        }
    }

    /// Addresses with open connections.
    package var connectedCount: Int { connections.withLock(\.count) }

    // MARK: Requests

    /// - Throws: 429 with `Retry-After` if more requests come from the address than may.
    package func admitRequest(of address: IPAddress, at now: ContinuousClock.Instant) throws(RequestError) {
        guard let requests else { return }
        let verdict = requestBuckets.take(address.client, rate: requests.perSecond, burst: requests.burst, at: now)
        guard !verdict.isAdmitted else { return }
        throw .tooMany("rate_limit_exceeded", "too many requests come from this address", verdict.untilNext)
    }

    // MARK: Keys

    /// Who presents this key. Once too many wrong ones have come from the address, only keys that were good from there before still are: a stranger
    /// behind the same translator cannot shut out who works there, and of any other key nobody behind it learns whether it is right.
    ///
    /// - Throws: `unauthenticated` as ``KeyRing/caller(presenting:at:)``; a ``RequestError`` 429 with `Retry-After` in place of it, and for a right
    ///   key that has not been good from this address, while there were too many wrong ones.
    package func caller(presenting key: String?, from address: IPAddress?, in keys: KeyRing, at now: ContinuousClock.Instant) throws -> KeyRing.Caller {
        guard let wrongKeys, let address = address?.client, let key, !key.isEmpty, !keys.isOpen else { return try keys.caller(presenting: key) }
        let verdict = wrongKeyBuckets.take(address, tokens: 0, rate: wrongKeys.perSecond, burst: wrongKeys.burst, at: now)
        // Looked up in either case: a wrong key and a right one go the same way, but for a look into a table.
        let found = Result { () throws(ClusterError) in try keys.caller(presenting: key) }
        guard verdict.isAdmitted else {
            if case .success(let caller) = found, hasUsed(caller, address, at: now) { return caller }
            throw RequestError.tooMany("too_many_wrong_keys", "too many wrong API keys came from this address", verdict.untilNext)
        }
        switch found {
        case .success(let caller): remember(caller, address, at: now)
        case .failure: _ = wrongKeyBuckets.take(address, rate: wrongKeys.perSecond, burst: wrongKeys.burst, at: now)
        }
        return try found.get()
    }

    private func hasUsed(_ caller: KeyRing.Caller, _ address: IPAddress, at now: ContinuousClock.Instant) -> Bool {
        let key = UsedKey(address: address, tenant: caller.tenant, name: caller.keyName)
        return usedKeys.withLock { used in
            guard used[key] != nil else { return false }
            used[key] = now
            return true
        }
    }

    private func remember(_ caller: KeyRing.Caller, _ address: IPAddress, at now: ContinuousClock.Instant) {
        usedKeys.withLock { used in
            used[UsedKey(address: address, tenant: caller.tenant, name: caller.keyName)] = now
            guard used.count > Self.maximumRemembered else { return }
            let newest = used.sorted { $0.value > $1.value }.prefix(Self.maximumRemembered / 2)
            used = Dictionary(uniqueKeysWithValues: newest.map { ($0.key, $0.value) })
        }
    }

    /// Entries of each kind that are remembered.
    package var rememberedCounts: (requests: Int, wrongKeys: Int, usedKeys: Int) {
        (requestBuckets.count, wrongKeyBuckets.count, usedKeys.withLock(\.count))
    }
}

extension Metrics {
    /// - Parameter reason: `connections`, or the code of the answer.
    func refusedAddress(_ reason: String) -> Counter {
        counter("covey_gateway_address_refused_total", help: "Connections and requests refused because of what came from their address.", labels: [("reason", reason)])
    }
}

extension RequestError {
    /// 429 to whoever comes too often, with the time until which nothing else comes of it.
    static func tooMany(_ code: String, _ message: String, _ untilNext: Duration) -> RequestError {
        var error = RequestError(
            .tooManyRequests, code: code, "\(message); try again in \(untilNext.inWords)", retryAfterSeconds: max(1, Int(untilNext.seconds.rounded(.up))))
        error.retryAfterMilliseconds = max(1, Int((untilNext.seconds * 1_000).rounded(.up)))
        return error
    }
}

extension Duration {
    /// As OpenAI writes times: `6m0s`, `1.5s`.
    var inWords: String {
        let milliseconds = Int((seconds * 1_000).rounded(.up))
        let (minutes, rest) = (milliseconds / 60_000, Double(milliseconds % 60_000) / 1_000)
        return (minutes > 0 ? "\(minutes)m" : "") + (rest == rest.rounded() ? "\(Int(rest))s" : "\(rest)s")
    }
}
