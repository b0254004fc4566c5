public import AMQP
public import Celery

/// The book of all deliveries that this worker holds: each is settled exactly once, whatever happens to the connection or the worker.
///
/// Rules, beyond Celery's (`celery/worker/request.py`):
/// - A settlement for a connection or a channel that is gone is not sent, since the broker delivers the message anew.
/// - A redelivery of a task that is still running here is adopted: the task goes on, and its end settles the new delivery.
/// - A redelivery of a task that ended here while the connection was gone is settled as it would have been, and not run again.
///
/// A value type with no clock and no I/O: events in, actions out.
public struct Ledger: Sendable {
    /// What to do with a delivery that has just come.
    public enum ReceiveAction: Sendable, Equatable {
        case submit(Job.ID)
        case schedule(Job.ID, until: EpochSeconds)
        /// The task is running here already; nothing is to be done.
        case adopted(Job.ID)
        /// The task has ended here, or was acknowledged when it started; tell the broker again.
        case settleAgain(DeliveryToken, Settlement)
    }

    /// What to tell the broker.
    public struct SettleAction: Sendable, Equatable {
        public var token: DeliveryToken
        public var settlement: Settlement
    }

    /// The end of a job.
    public struct Conclusion: Sendable {
        public var job: Job
        /// What to tell the broker now; `nil` where it has been told, or can't be.
        public var settle: SettleAction?
        /// Whether the message goes back to its queue, so that the task has not ended.
        public var isRequeued: Bool
        /// Whether the broker is told that the message is rejected, with or without going back to its queue.
        public var isRejected: Bool
    }

    public private(set) var jobs: [Job.ID: Job] = [:]
    private var newestJob: [String: Job.ID] = [:]
    private var lastID: Job.ID = 0
    private var unsent = UnsentSettlements()

    /// How many jobs are running in Python workers.
    public private(set) var runningCount = 0
    /// How many jobs wait for their `eta`.
    public private(set) var scheduledCount = 0
    /// How many redeliveries met a task that was running or had ended here.
    public private(set) var adoptedCount = 0

    public init() {}

    public subscript(id: Job.ID) -> Job? { self.jobs[id] }

    public var isEmpty: Bool { self.jobs.isEmpty }

    /// The newest job with this task id.
    public func job(taskID: String) -> Job? { self.newestJob[taskID].flatMap { self.jobs[$0] } }

    /// A delivery has come, and its message asks for a registered task.
    public mutating func receive(
        _ message: TaskMessage,
        options: TaskOptions,
        token: DeliveryToken
    ) -> ReceiveAction {
        if message.deliveryInfo.redelivered, let action = self.meet(message, token) { return action }
        self.lastID += 1
        let id = self.lastID
        var job = Job(
            id: id,
            message: message,
            options: options,
            phase: .reserved,
            delivery: .open(token)
        )
        if let eta = message.eta {
            job.phase = .scheduled(until: eta)
            self.scheduledCount += 1
        }
        self.jobs[id] = job
        self.newestJob[message.id] = id
        return message.eta.map { .schedule(id, until: $0) } ?? .submit(id)
    }

    /// Looks for the task of a redelivered message among those that run here or have ended here.
    private mutating func meet(_ message: TaskMessage, _ token: DeliveryToken) -> ReceiveAction? {
        let fingerprint = MessageFingerprint(message)
        if let id = self.newestJob[message.id], var job = self.jobs[id], job.fingerprint == fingerprint {
            switch job.delivery {
            case .lost:
                self.adoptedCount += 1
                job.delivery = .open(token)
                self.jobs[id] = job
                return .adopted(id)
            case .settled(let settlement, let source) where source != token.source:
                self.adoptedCount += 1
                return .settleAgain(token, settlement)
            case .open, .settled:
                // Another delivery of the same channel: the queue holds the message twice.
                return nil
            }
        }
        guard let settlement = self.unsent.take(fingerprint) else { return nil }
        self.adoptedCount += 1
        return .settleAgain(token, settlement)
    }

    /// Gives a job's message memory of its own.
    public mutating func detach(_ id: Job.ID) { self.jobs[id]?.message.detach() }

    /// A job that is ready is held back by its task's rate limit.
    public mutating func hold(_ id: Job.ID) {
        if self.jobs[id]?.phase == .reserved { self.jobs[id]?.phase = .limited }
    }

    /// A job that was held back may go on. Returns whether it is still to be run.
    public mutating func release(_ id: Job.ID) -> Bool {
        guard self.jobs[id]?.phase == .limited else { return false }
        self.jobs[id]?.phase = .reserved
        return true
    }

    /// A running job is given up without a word to the broker: its message comes back when its channel closes, or was acknowledged when it started.
    public mutating func forget(_ id: Job.ID) -> Job? { self.remove(id) }

    /// The time of a scheduled job has come. Returns whether it is still to be run.
    public mutating func due(_ id: Job.ID) -> Bool {
        guard let place = self.jobs.index(forKey: id), case .scheduled = self.jobs.values[place].phase else {
            return false
        }
        self.jobs.values[place].phase = .reserved
        self.scheduledCount -= 1
        return true
    }

    /// A Python worker has begun to run a job: without `acks_late`, this acknowledges it.
    public mutating func started(_ id: Job.ID, pid: Int32, at time: EpochSeconds) -> SettleAction? {
        guard let place = self.jobs.index(forKey: id) else { return nil }
        if !self.jobs.values[place].isRunning { self.runningCount += 1 }
        self.jobs.values[place].phase = .running(pid: pid, since: time)
        if self.jobs.values[place].options.acksLate { return nil }
        return Self.settle(&self.jobs.values[place], .acknowledge, unsent: &self.unsent)
    }

    /// A job has ended. Returns `nil` for a job that is not in the book.
    public mutating func conclude(_ id: Job.ID, _ ending: JobEnding) -> Conclusion? {
        guard var job = self.remove(id) else { return nil }
        let settlement = Self.settlement(of: ending, options: job.options)
        let wasEarly = job.isSettled
        let settle = Self.settle(&job, settlement, unsent: &self.unsent)
        return Conclusion(
            job: job,
            settle: settle,
            isRequeued: !wasEarly && settlement == .reject(requeue: true),
            isRejected: !wasEarly && settlement != .acknowledge
        )
    }

    /// A job that has not started is given up: an expired or revoked one is acknowledged, another goes back to its queue.
    public mutating func discard(_ id: Job.ID, _ settlement: Settlement) -> Conclusion? {
        guard var job = self.remove(id) else { return nil }
        let settle = Self.settle(&job, settlement, unsent: &self.unsent)
        return Conclusion(
            job: job,
            settle: settle,
            isRequeued: settlement == .reject(requeue: true),
            isRejected: settlement != .acknowledge
        )
    }

    /// A channel is gone, alone or with its connection: no delivery that came by it can be settled any more.
    ///
    /// Jobs that have not started are forgotten, since the broker delivers them anew.
    /// - Parameter unstarted: the reserved jobs that have been taken back from the pool.
    public mutating func sourceLost(_ source: DeliverySource, unstarted: some Sequence<Job.ID>) {
        let unstarted = Set(unstarted)
        for (id, job) in self.jobs {
            switch (job.phase, job.delivery) {
            case (.scheduled, .open(let token)) where token.source == source,
                (.limited, .open(let token)) where token.source == source:
                _ = self.remove(id)
            case (.reserved, .open(let token)) where token.source == source && unstarted.contains(id):
                _ = self.remove(id)
            case (_, .open(let token)) where token.source == source:
                self.jobs[id]?.delivery = .lost
            default:
                break
            }
        }
    }

    /// The ack matrix of `celery/worker/request.py` (`on_success`, `on_failure`, `on_retry`, `on_timeout`).
    static func settlement(of ending: JobEnding, options: TaskOptions) -> Settlement {
        switch ending {
        case .succeeded, .retried, .ignored, .revoked, .undecodable, .republished:
            .acknowledge
        case .malformed:
            .reject(requeue: false)
        case .rejected(let requeue):
            .reject(requeue: requeue)
        case .failed:
            options.acksOnFailure ? .acknowledge : .reject(requeue: false)
        case .timedOut:
            options.acksOnTimeout ? .acknowledge : .reject(requeue: true)
        case .workerLost:
            options.rejectOnWorkerLost
                ? .reject(requeue: true)
                : options.acksOnFailure ? .acknowledge : .reject(requeue: false)
        }
    }

    private static func settle(
        _ job: inout Job,
        _ settlement: Settlement,
        unsent: inout UnsentSettlements
    ) -> SettleAction? {
        switch job.delivery {
        case .open(let token):
            job.delivery = .settled(settlement, token.source)
            return SettleAction(token: token, settlement: settlement)
        case .lost:
            job.delivery = .settled(settlement, nil)
            unsent.insert(job.fingerprint, settlement)
            return nil
        case .settled:
            return nil
        }
    }

    private mutating func remove(_ id: Job.ID) -> Job? {
        guard let job = self.jobs.removeValue(forKey: id) else { return nil }
        if let place = self.newestJob.index(forKey: job.message.id), self.newestJob.values[place] == id {
            self.newestJob.remove(at: place)
        }
        switch job.phase {
        case .running: self.runningCount -= 1
        case .scheduled: self.scheduledCount -= 1
        case .reserved, .limited: break
        }
        return job
    }
}
