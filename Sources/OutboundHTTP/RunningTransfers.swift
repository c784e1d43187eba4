import CCurl

/// The transfers that libcurl's thread knows: in progress or in line behind others to the same host.
struct RunningTransfers {
    private let multi: MultiHandle
    private let configuration: HTTPClientConfiguration
    private var active: [UInt64: EasyTransfer] = [:]
    /// In order of arrival; a request to a busy host does not hold up those behind it to others.
    private var waiting: [EasyTransfer] = []
    private var activePerHost: [String: Int] = [:]

    init(multi: MultiHandle, configuration: HTTPClientConfiguration) {
        self.multi = multi
        self.configuration = configuration
    }

    mutating func start(_ transfer: Transfer) {
        do throws(HTTPClientError) {
            let easy = try EasyTransfer(transfer, configuration: configuration)
            if activePerHost[easy.host, default: 0] < configuration.maximumConnectionsPerHost {
                activate(easy)
            } else if waiting.count < configuration.maximumWaiting {
                waiting.append(easy)
            } else {
                throw .tooManyRequests(limit: configuration.maximumWaiting)
            }
        } catch {
            transfer.finish(.failure(error))
        }
    }

    func resume(_ transfer: Transfer) { active[transfer.id]?.resume() }

    /// Ends a transfer wherever it is; unknown ids ended before.
    mutating func end(_ id: UInt64, _ outcome: Result<Void, HTTPClientError>) {
        if let index = waiting.firstIndex(where: { $0.transfer.id == id }) {
            waiting.remove(at: index).transfer.finish(outcome)
        } else if let easy = active.removeValue(forKey: id) {
            unsafe _ = curl_multi_remove_handle(multi.pointer, easy.pointer)
            easy.transfer.finish(outcome)
            release(easy.host)
        }
    }

    mutating func endAll(_ error: HTTPClientError) {
        for id in waiting.map(\.transfer.id) + Array(active.keys) { end(id, .failure(error)) }
    }

    /// Moves bytes, ends what is complete or late.
    mutating func perform() {
        var runningCount: CInt = 0
        unsafe _ = curl_multi_perform(multi.pointer, &runningCount)
        while true {
            let finished = unsafe covey_curl_next_finished(multi.pointer)
            guard let pointer = unsafe finished.easy else { break }
            let easy = unsafe EasyTransfer.behind(pointer)
            end(easy.transfer.id, unsafe easy.outcome(of: finished.result))
        }
        let now = ContinuousClock.now
        for easy in waiting + Array(active.values) {
            if let limit = easy.passedLimit(at: now) { end(easy.transfer.id, .failure(limit)) }
        }
    }

    var timeToNextDeadline: Duration {
        let now = ContinuousClock.now
        return (waiting + Array(active.values)).reduce(.seconds(60)) { shortest, easy in
            easy.nextDeadline.map { min(shortest, max(.zero, now.duration(to: $0))) } ?? shortest
        }
    }

    private mutating func activate(_ easy: EasyTransfer) {
        activePerHost[easy.host, default: 0] += 1
        active[easy.transfer.id] = easy
        easy.begin()
        let code = unsafe curl_multi_add_handle(multi.pointer, easy.pointer)
        if code != CURLM_OK { end(easy.transfer.id, .failure(.invalidRequest("libcurl refused it: code \(code.rawValue)"))) }
    }

    private mutating func release(_ host: String) {
        let remaining = activePerHost[host, default: 1] - 1
        activePerHost[host] = remaining == 0 ? nil : remaining
        guard let index = waiting.firstIndex(where: { $0.host == host }) else { return }
        activate(waiting.remove(at: index))
    }
}
