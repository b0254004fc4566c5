/// How many unsettled messages the broker may have given to this worker (`basic.qos`).
///
/// Messages that wait here for their `eta`, or for their task's rate limit, are no work that is about to be done. They count beside the others, up to
/// a bound, and the count falls back when they leave: it is computed from what is there, not added to and taken from, so that it can't drift
/// (Celery's own falls to 1 in time where `worker_eta_task_limit` is set).
struct PrefetchCount: Sendable, Equatable {
    /// For messages that are about to be run; 0 for no limit.
    var base: Int
    /// How many waiting messages raise the count; `nil` for all.
    var waitingLimit: Int?

    /// - Parameters:
    ///   - processes: Python workers; the most of them, where their number follows the work.
    ///   - multiplier: messages for each; 0 for no limit.
    init(processes: Int, multiplier: Int, waitingLimit: Int? = nil) {
        let (base, overflow) = max(processes, 1).multipliedReportingOverflow(by: max(multiplier, 0))
        self.base = overflow ? 0 : base
        self.waitingLimit = waitingLimit
    }

    /// The value for `basic.qos`; 0, no limit, for what its 16 bits can't hold (`kombu/common.py`, `QoS.set`).
    func value(waiting: Int) -> UInt16 {
        guard self.base > 0 else { return 0 }
        return UInt16(exactly: self.base + min(waiting, self.waitingLimit ?? .max)) ?? 0
    }
}
