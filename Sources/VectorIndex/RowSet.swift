/// Rows seen so far; emptied without touching what it held.
package struct RowSet: Sendable {
    /// Open addressing: the row below, the round it was inserted in above; a power of 2 of places.
    private var places: [UInt64] = []
    private var round: UInt32 = 0
    private var mask = 0

    package init() {}

    /// Empties it, with room for so many rows.
    mutating func clear(for rows: Int) {
        mask = (1 << (Int.bitWidth - (4 * rows | 63).leadingZeroBitCount)) - 1
        if places.count <= mask { places = [UInt64](repeating: 0, count: mask + 1) }
        round &+= 1
        if round == 0 {
            for place in places.indices { places[place] = 0 }
            round = 1
        }
    }

    /// - Returns: Whether it was not there yet.
    @inline(__always)
    mutating func insert(_ row: UInt32) -> Bool {
        let entry = UInt64(round) << 32 | UInt64(row)
        var place = Int((row &* 0x9E37_79B1) >> 8) & mask
        while places[place] >> 32 == UInt64(round) {
            if places[place] == entry { return false }
            place = (place + 1) & mask
        }
        places[place] = entry
        return true
    }
}
