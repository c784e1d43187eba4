import Model

/// What a seed lets happen to the cluster: some seeds much of everything, some much of one thing, some little.
struct FaultPlan {
    /// Probability that a message is lost, and that a request arrives twice.
    var loss = 0.0
    var duplication = 0.0
    /// Longest time of a message under way; most take a small part of it.
    var latency: Duration = .milliseconds(4)
    /// Probability that a call to the store goes wrong.
    var storeTrouble = 0.0
    /// Probability that a machine stops for a while as it is about to write what decides on who does what next, or has just written it.
    var stalls = 0.0
    /// Mean time between faults of machines.
    var interval: Duration = .seconds(3)
    var kinds: [Fault] = []

    enum Fault: CaseIterable {
        case kill, restart, pause, cutOneWay, cutBothWays, cutFromStore, diskFull, powerLoss, stopNode, changeMembers
        /// The machines fall into two parts, each of which reaches the store.
        case partition
    }

    init(_ scheduler: Scheduler) {
        guard !scheduler.chance(0.05) else { return }  // a quiet day
        if scheduler.chance(0.5) { loss = scheduler.pick([0.001, 0.01, 0.05]) }
        if scheduler.chance(0.5) { duplication = scheduler.pick([0.01, 0.1]) }
        if scheduler.chance(0.3) { latency = scheduler.pick([.milliseconds(50), .milliseconds(400)]) }
        if scheduler.chance(0.6) { storeTrouble = scheduler.pick([0.01, 0.05, 0.2]) }
        if scheduler.chance(0.4) { stalls = scheduler.pick([0.02, 0.1, 0.3]) }
        interval = scheduler.pick([.milliseconds(700), .seconds(2), .seconds(5)])
        kinds = Fault.allCases.filter { _ in scheduler.chance(0.6) }
    }
}
