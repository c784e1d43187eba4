/// A bounded queue in front of a few servers: one line for each customer, and the lines are served in turn, so that a customer waits for one job
/// of each other customer before it, however many they have brought.
///
/// A customer's line may be eight times as long as there is room left, so one that floods leaves a ninth of the room to whoever comes; jobs of nobody
/// have a line of their own, which may take all. A value; its owner guards it.
/// Every operation is O(1) amortized; memory is that of the jobs.
///
/// - SeeAlso: Nagle, "On Packet Switches With Infinite Storage", RFC 970; Choudhury, Hahne, "Dynamic Queue Length Thresholds for Shared-Memory
///   Packet Switches", IEEE/ACM Transactions on Networking 6(2), 1998.
struct FairQueue<Customer: Hashable, Job> {
    private struct Line {
        /// Those before `head` are taken.
        var jobs: [Job?] = []
        var head = 0
        var count: Int { jobs.count - head }
    }

    let limit: Int
    private(set) var count = 0
    private var lines: [Customer?: Line] = [:]
    /// Who has a job, whose turn it is at `head`.
    private var turns: [Customer?] = []
    private var head = 0

    init(limit: Int) { self.limit = limit }

    /// - Returns: Whether there was room.
    mutating func add(_ job: Job, for customer: Customer?) -> Bool {
        let own = lines[customer]?.count ?? 0
        guard count < limit, customer == nil || own < 8 * (limit - count) else { return false }
        lines[customer, default: Line()].jobs.append(job)
        if own == 0 { turns.append(customer) }
        count += 1
        return true
    }

    /// The next job of the customer whose turn it is.
    mutating func next() -> Job? {
        guard head < turns.count else { return nil }
        let customer = turns[head]
        head += 1
        if head == turns.count || head > 1_024 {
            turns.removeFirst(head)
            head = 0
        }
        count -= 1
        var line = lines.removeValue(forKey: customer)!
        let job = line.jobs[line.head]!
        line.jobs[line.head] = nil
        line.head += 1
        guard line.count > 0 else { return job }
        if line.head > 1_024 {
            line.jobs.removeFirst(line.head)
            line.head = 0
        }
        lines[customer] = line
        turns.append(customer)
        return job
    }
}
