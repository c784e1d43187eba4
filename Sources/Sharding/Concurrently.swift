import Model

/// Results of a call for each item, in their order, with so many under way at once.
///
/// - Throws: The first error; calls that have not begun then are left out.
func concurrently<Item: Sendable, Value: Sendable>(
    _ items: [Item], atMost limit: Int, _ body: @escaping @Sendable (Item) async throws(ClusterError) -> Value
) async throws(ClusterError) -> [Value] {
    @Sendable func call(_ item: Item) async -> Result<Value, ClusterError> {
        do throws(ClusterError) { return .success(try await body(item)) } catch { return .failure(error) }
    }
    let results = await withTaskGroup(of: (Int, Result<Value, ClusterError>).self) { group in
        var results = [Result<Value, ClusterError>?](repeating: nil, count: items.count)
        var next = 0
        func addNext() {
            guard next < items.count else { return }
            let index = next
            next += 1
            group.addTask {
                let result = await call(items[index])
                return (index, result)
            }
        }
        for _ in 0..<limit { addNext() }
        while let (index, result) = await group.next() {
            results[index] = result
            if case .failure = result { next = items.count } else { addNext() }
        }
        return results
    }
    var values: [Value] = []
    for case .failure(let error)? in results { throw error }
    for result in results { if let result { values.append(try result.get()) } }
    return values
}
