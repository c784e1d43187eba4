import Model
import Testing
import Transport

@Suite struct MessageAssemblerTests {
    @Test("messages come out whole, however the bytes are cut", arguments: [1, 2, 3, 5, 6, 11, 1_000])
    func cuts(piece: Int) throws {
        let sent: [[UInt8]] = [[], [1], Array(0..<200), [], [9, 9]]
        let bytes = sent.flatMap { GRPC.prefix($0.count) + $0 }
        var assembler = MessageAssembler(limit: 200)
        var received: [[UInt8]] = []
        for start in stride(from: 0, to: bytes.count, by: piece) {
            let chunk = Array(bytes[start..<min(start + piece, bytes.count)])
            try assembler.append(chunk.span.bytes, to: &received)
        }
        #expect(received == sent)
        #expect(!assembler.isInside)
    }

    @Test("a message beyond the limit is refused at its prefix")
    func limit() {
        var assembler = MessageAssembler(limit: 10)
        var received: [[UInt8]] = []
        let error = #expect(throws: ClusterError.self) { try assembler.append(GRPC.prefix(11).span.bytes, to: &received) }
        #expect(error == ClusterError(.resourceExhausted, "message of 11 bytes, maximumMessageBytes is 10"))
    }

    @Test("a compressed message is unimplemented")
    func compressed() {
        var assembler = MessageAssembler(limit: 10)
        var received: [[UInt8]] = []
        let error = #expect(throws: ClusterError.self) { try assembler.append(([1, 0, 0, 0, 1] as [UInt8]).span.bytes, to: &received) }
        #expect(error?.code == .unimplemented)
    }
}

@Suite struct GRPCTests {
    @Test("a timeout is rounded up to what its unit can say, and read back", arguments: [
        (Duration.nanoseconds(1), "1n"), (.milliseconds(50), "50000000n"), (.milliseconds(250), "250000u"), (.seconds(1), "1000000u"),
        (.seconds(99), "99000000u"), (.seconds(100), "100000m"), (.nanoseconds(100_000_001), "100001u"), (.seconds(1_000_000), "1000000S"),
    ])
    func timeouts(duration: Duration, text: String) throws {
        #expect(GRPC.timeout(duration) == text)
        let read = try #require(GRPC.duration(timeout: text))
        #expect(read >= duration)
    }

    @Test("an endless timeout has eight digits at most")
    func endless() {
        #expect(GRPC.timeout(.seconds(Int64.max)) == "99999999H")
    }

    @Test("what is no timeout is refused", arguments: ["", "m", "1", "-1m", "1x", "123456789m", "１m", "+5m"])
    func badTimeouts(text: String) {
        #expect(GRPC.duration(timeout: text) == nil)
    }

    @Test("messages survive in headers", arguments: ["", "plain", "100 % of é\n", "%41", "\u{0}\u{7f}", "日本"])
    func percent(text: String) {
        let encoded = GRPC.percentEncode(text)
        #expect(encoded.utf8.allSatisfy { (0x20...0x7e).contains($0) })
        #expect(GRPC.percentDecode(encoded) == text)
    }

    @Test("broken escapes stand as they are", arguments: ["%", "%4", "%zz", "a%"])
    func brokenEscapes(text: String) {
        #expect(GRPC.percentDecode(text) == text)
    }
}

@Suite struct PeerStateTests {
    private let gone = ClusterError(.unavailable, "gone")
    private func makeState() -> PeerState { PeerState(initialBackOff: .milliseconds(50), maximumBackOff: .seconds(1)) }

    @Test("the first call connects, others wait, then all are sent")
    func connects() {
        var state = makeState()
        #expect(state.callArrives() == .connect)
        #expect(state.callArrives() == .wait)
        state.connected()
        #expect(state.callArrives() == .send)
    }

    @Test("pauses double up to the longest; jitter takes at most half")
    func backsOff() {
        var state = makeState()
        _ = state.callArrives()
        var pauses: [Duration] = []
        for _ in 0..<7 {
            if case .pause(let pause) = state.connectFailed(gone, chance: 0) { pauses.append(pause) }
            #expect(state.callArrives() == .fail)
            #expect(state.pauseEnded() == .connect)
            #expect(state.callArrives() == .fail, "a node known to be down is not waited for")
        }
        #expect(pauses == [50, 100, 200, 400, 800, 1_000, 1_000].map { .milliseconds($0) })
        #expect(state.connectFailed(gone, chance: 0.999) == .pause(.seconds(1) * (1 - 0.999 / 2)))
        #expect(state.lastError == gone)
    }

    @Test("after the loss of an old connection calls wait for the next at once")
    func reconnectsAtOnce() {
        var state = makeState()
        _ = state.callArrives()
        state.connected()
        #expect(state.connectionLost(gone, age: .seconds(10), chance: 0) == .connect)
        #expect(state.callArrives() == .wait)
    }

    @Test("connections that die young count as failures, so a node that hangs up is not hammered")
    func youngDeaths() {
        var state = makeState()
        _ = state.callArrives()
        state.connected()
        #expect(state.connectionLost(gone, age: .milliseconds(1), chance: 0) == .pause(.milliseconds(50)))
        _ = state.pauseEnded()
        state.connected()
        #expect(state.connectionLost(gone, age: .milliseconds(1), chance: 0) == .pause(.milliseconds(100)))
    }

    @Test("closed is for good")
    func closes() {
        var state = makeState()
        _ = state.callArrives()
        state.close()
        #expect(state.callArrives() == .fail)
        #expect(state.connectFailed(gone, chance: 0) == .nothing)
        #expect(state.connectionLost(gone, age: .seconds(9), chance: 0) == .nothing)
        #expect(state.pauseEnded() == .nothing)
    }
}
