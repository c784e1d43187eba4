/// Runs the same work on many items, several at once, in the order of the items as far as that goes.
///
/// - Parameter width: Items at work at the same time.
func forEachConcurrently<Item: Sendable>(
    _ items: [Item], width: Int, _ work: @escaping @Sendable (Item) async throws(ConsoleError) -> Void
) async throws(ConsoleError) {
    let result = await withTaskGroup(of: Result<Void, ConsoleError>.self) { group in
        var rest = items.makeIterator()
        func start() -> Bool {
            guard let item = rest.next() else { return false }
            group.addTask {
                do throws(ConsoleError) { return .success(try await work(item)) } catch { return .failure(error) }
            }
            return true
        }
        for _ in 0..<max(1, width) where !start() { break }
        while let result = await group.next() {
            if case .failure = result {
                group.cancelAll()
                return result
            }
            _ = start()
        }
        return .success(())
    }
    try result.get()
}
