import Model
import Testing

@Suite("Request ids")
struct RequestIDTests {
    @Test("a UUID of version 7 says when it was made; nothing else does")
    func time() {
        // RFC 9562, appendix A.6: 2022-02-22 19:22:22 UTC.
        #expect(RequestID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F").time == 1_645_557_742_000)
        #expect(RequestID("017f22e2-79b0-7cc3-98c4-dc0c0c07398f").time == 1_645_557_742_000)
        for other in [
            "", "017f22e2-79b0-4cc3-98c4-dc0c0c07398f", "017f22e279b07cc398c4dc0c0c07398f", "017f22e2-79b0-7cc3-98c4-dc0c0c07398", "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
            "x17f22e2-79b0-7cc3-98c4-dc0c0c07398f", "017f22e2+79b0-7cc3-98c4-dc0c0c07398f", RequestID.random().rawValue,
        ] { #expect(RequestID(other).time == nil, "\(other)") }
    }

    @Test("ids made for a time have it, and are UUIDs of version 7", arguments: [0, 1, 1_700_000_000_000, (1 << 48) - 1] as [UInt64])
    func ordered(time: UInt64) {
        let ids = Set((0..<100).map { _ in RequestID.ordered(time: time) })
        #expect(ids.count == 100)
        for id in ids {
            #expect(id.time == time)
            let text = Array(id.rawValue)
            #expect(text.count == 36 && text[14] == "7" && "89ab".contains(text[19]))
        }
    }
}
