import Synchronization

/// Any object store behind a rule that makes calls fail, before or after they took effect, or wait: for tests.
package final class FaultObjectStore: ObjectStore {
    package enum Call: Hashable, Sendable {
        case get(String), size(String), put(String), list(String), delete(String), putFile(String), localFile(String)

        package var key: String {
            switch self {
            case .get(let key), .size(let key), .put(let key), .list(let key), .delete(let key), .putFile(let key), .localFile(let key): key
            }
        }
    }
    package enum Fault: Sendable {
        case none
        /// The call does not reach the store.
        case lost
        /// The call takes effect and its reply is lost.
        case replyLost
    }
    /// Asked before each call; it may also suspend to hold the call up.
    package typealias Rule = @Sendable (Call) async -> Fault

    private let store: any ObjectStore
    /// Together, in a box: a mutex wraps a function anew each time that it is looked at.
    private struct Script {
        var rule: Rule
        var sequel: @Sendable (Call) async -> Void = { _ in }
    }
    private let script: Mutex<Script>

    package init(_ store: any ObjectStore, rule: @escaping Rule = { _ in .none }) {
        self.store = store
        script = Mutex(Script(rule: rule))
    }

    package func replace(rule: @escaping Rule) { script.withLock { $0.rule = rule } }
    /// What happens between a call's effect and its reply.
    package func follow(with sequel: @escaping @Sendable (Call) async -> Void) { script.withLock { $0.sequel = sequel } }

    private func through<Value>(_ call: Call, _ body: () async throws(StoreError) -> Value) async throws(StoreError) -> Value {
        switch await script.withLock({ $0.rule })(call) {
        case .none:
            let value = try await body()
            await script.withLock { $0.sequel }(call)
            return value
        case .lost: throw .unavailable("the call was lost")
        case .replyLost:
            _ = try await body()
            throw .unavailable("the reply was lost")
        }
    }

    package func get(_ key: String) async throws(StoreError) -> [UInt8] {
        try await through(.get(key)) { () throws(StoreError) in try await store.get(key) }
    }
    package func get(_ key: String, range: Range<Int>) async throws(StoreError) -> [UInt8] {
        try await through(.get(key)) { () throws(StoreError) in try await store.get(key, range: range) }
    }
    package func size(_ key: String) async throws(StoreError) -> Int {
        try await through(.size(key)) { () throws(StoreError) in try await store.size(key) }
    }
    package func put(_ key: String, _ bytes: [UInt8], ifAbsent: Bool) async throws(StoreError) {
        try await through(.put(key)) { () throws(StoreError) in try await store.put(key, bytes, ifAbsent: ifAbsent) }
    }
    package func list(prefix: String, after: String?, limit: Int) async throws(StoreError) -> [String] {
        try await through(.list(prefix)) { () throws(StoreError) in try await store.list(prefix: prefix, after: after, limit: limit) }
    }
    package func delete(_ keys: [String]) async throws(StoreError) {
        try await through(.delete(keys.first ?? "")) { () throws(StoreError) in try await store.delete(keys) }
    }
    package func scratchPath() async throws(StoreError) -> String { try await store.scratchPath() }
    package func putFile(_ key: String, from path: String) async throws(StoreError) {
        try await through(.putFile(key)) { () throws(StoreError) in try await store.putFile(key, from: path) }
    }
    package func localFile(_ key: String) async throws(StoreError) -> LocalFile {
        try await through(.localFile(key)) { () throws(StoreError) in try await store.localFile(key) }
    }
}
