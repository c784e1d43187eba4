import NIOCore
import Synchronization

/// The open connections of a port. When few places are left, the one that has been idle longest makes room for each that comes, so that connections
/// that do nothing cannot keep others out.
package final class ConnectionPlaces: Sendable {
    /// One connection's place, given back by ``ConnectionPlaces/leave(_:)``.
    package final class Place: Sendable {
        private let close: @Sendable () -> Void
        /// When it became idle, in ns of the loop's clock; 0 while it is busy.
        fileprivate let idleSince: Atomic<UInt64>

        fileprivate init(_ close: @escaping @Sendable () -> Void) {
            self.close = close
            idleSince = Atomic(NIODeadline.now().uptimeNanoseconds)
        }

        /// Whether it does something for which it must not be closed.
        package func setBusy(_ isBusy: Bool) { idleSince.store(isBusy ? 0 : NIODeadline.now().uptimeNanoseconds, ordering: .relaxed) }

        fileprivate func evict() {
            setBusy(true)  // once is enough
            close()
        }
    }

    private let limit: Int
    private let places = Mutex<[ObjectIdentifier: Place]>([:])

    /// - Parameter limit: Places in all; an eighth of them is kept free as far as there are idle connections.
    package init(limit: Int) { self.limit = limit }

    /// Takes a place, which is idle at first.
    ///
    /// - Parameter close: Closes the connection; it may be called from any thread.
    /// - Returns: The place, and whether another connection is being closed for it. `nil` if all are taken.
    /// - Complexity: O(1), and O(`limit`) when few places are left.
    package func enter(_ close: @escaping @Sendable () -> Void) -> (place: Place, hasEvicted: Bool)? {
        let place = Place(close)
        let (isIn, evicted) = places.withLock { places -> (Bool, Place?) in
            guard places.count < limit else { return (false, Self.longestIdle(places)) }
            let evicted = places.count >= limit - limit / 8 ? Self.longestIdle(places) : nil
            places[ObjectIdentifier(place)] = place
            return (true, evicted)
        }
        evicted?.evict()
        return isIn ? (place, evicted != nil) : nil
    }

    package func leave(_ place: Place) { places.withLock { $0[ObjectIdentifier(place)] = nil } }

    package var count: Int { places.withLock(\.count) }

    private static func longestIdle(_ places: [ObjectIdentifier: Place]) -> Place? {
        var found: (place: Place, since: UInt64)?
        for place in places.values {
            let since = place.idleSince.load(ordering: .relaxed)
            if since > 0, since < found?.since ?? .max { found = (place, since) }
        }
        return found?.place
    }
}
