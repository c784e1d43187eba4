import Model
import NIOPosix
import Testing
import Transport

/// Tasks and timers on event loops.
struct LoopTests {
    private let clock = DeadlineClock.onLoops

    @Test func aTaskStaysOnALoopAcrossItsWaits() async {
        let places = await Task(executorPreference: LoopExecutor.shared) {
            var places = [onLoop]
            for _ in 0..<50 {
                await Task.yield()
                places.append(onLoop)
                try? await clock.sleep(.now + .microseconds(100))
                places.append(onLoop)
            }
            // What is resumed by another thread comes back to a loop.
            await Task.detached {}.value
            return places + [onLoop]
        }.value
        #expect(places.allSatisfy { $0 })
    }

    @Test func whatIsLongLeavesTheLoopsAndComesBack() async {
        let places = await Task(executorPreference: LoopExecutor.shared) {
            let away = await awayFromLoops { () throws(Never) in onLoop }
            return [away, onLoop]
        }.value
        #expect(places == [false, true])
    }

    @Test(arguments: [true, false]) func aSleepEndsAtItsTimeAndNotBefore(isOnLoop: Bool) async throws {
        let times = try await Task(executorPreference: isOnLoop ? LoopExecutor.shared : nil) {
            try await withThrowingTaskGroup(of: Duration.self) { group in
                for millisecond in [3, 1, 2, 0, -5] {
                    group.addTask {
                        let end = ContinuousClock.now + .milliseconds(millisecond)
                        try await clock.sleep(end)
                        return end.duration(to: .now)
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
        }.value
        #expect(times.count == 5 && times.allSatisfy { $0 >= .zero })
    }

    @Test(arguments: [true, false]) func aSleepThatIsCancelledEndsAtOnce(isOnLoop: Bool) async {
        let sleepers = (0..<200).map { number in
            Task(executorPreference: isOnLoop ? LoopExecutor.shared : nil) {
                // Cancelled before it begins, while it begins, and while it lasts.
                if number % 2 == 0 { await Task.yield() }
                try await clock.sleep(.now + .seconds(3_000_000))
            }
        }
        for sleeper in sleepers { sleeper.cancel() }
        for sleeper in sleepers { await #expect(throws: CancellationError.self) { try await sleeper.value } }
    }

    @Test func timeAndCancellationMayCoincide() async {
        for number in 0..<300 {
            let sleeper = Task(executorPreference: LoopExecutor.shared) { try? await clock.sleep(.now + .microseconds(number % 60)) }
            if number % 3 > 0 { await Task.yield() }
            sleeper.cancel()
            await sleeper.value
        }
    }
}

private var onLoop: Bool { MultiThreadedEventLoopGroup.currentEventLoop != nil }
