import DequeModule

/// Which worker runs which job: the pool without its processes and sockets.
///
/// Events go in as methods, what has to be done comes out in `actions`. A job is in exactly one place: the queue, or
/// the list of one worker. A worker takes its jobs in the order in which they were sent, so the first of its list is the
/// one that it runs, and those behind it can be taken back for as long as it hasn't read them.
struct PoolMachine {
    /// Names one process; a replacement has the same index and another generation.
    struct Key: Hashable, Sendable {
        /// Position in `workers`: the worker's index less one.
        var slot: Int
        var generation: UInt32
    }

    enum Action: Equatable, Sendable {
        /// Write the job to the worker's socket. Followed by `sendFailed` if it can't be.
        case send(slot: Int, job: UInt64)
        /// Read one job back from the worker's socket, and report `reclaimed`.
        case reclaim(slot: Int)
        case spawn(Key)
        case kill(Key, signal: Int32)
        /// Close the worker's job socket, so that it ends after its job.
        case closeJobs(Key)
        /// Look whether the worker has read the first of its jobs, and report `inspected`.
        case inspect(Key)
        /// Too many workers died in a row: nothing is started for so long (in nanoseconds).
        case backOff(UInt64)
        case idle
    }

    enum Phase: Equatable, Sendable {
        /// No process, and none wanted.
        case absent
        /// No process until a moment of the clock.
        case waiting(until: UInt64)
        case starting(deadline: UInt64)
        case ready
        /// Told to end; takes no more jobs.
        case stopping
        /// Has ended: its last frames are still to be read.
        case exited(WorkerExit)
    }

    struct Worker: Sendable {
        var key: Key
        var pid: Int32 = 0
        var phase: Phase = .absent
        /// Jobs sent and not finished, the running one first.
        var jobs: Deque<UInt64> = []
        var startedAt: UInt64 = 0
        var finished = 0
        /// Its socket took no more; tried again after its next result.
        var full = false
        var streamClosed = false
        /// A signal is on its way to its running job: nothing is queued behind that.
        var condemned = false
        var wasReady = false
        /// Why the pool ends it, from when it does.
        var ending: WorkerExit.Cause?
        /// Whether another is to take its place when it has ended.
        var isReplaced = false
        /// When it is killed, should it still be there then.
        var killAt: UInt64 = .max
        /// The job that was its first when the workers were last looked at, and the last one that it is known to have read; 0 for none.
        var seen: UInt64 = 0
        var read: UInt64 = 0

        var isIdle: Bool { phase == .ready && jobs.isEmpty && !full }

        /// Whether it is one of the wanted number, by itself or by the one that is to take its place.
        var counts: Bool {
            switch phase {
            case .waiting, .starting, .ready: true
            case .stopping: isReplaced
            case .absent, .exited: false
            }
        }
    }

    /// Limits of the pool's behaviour; times in nanoseconds.
    struct Limits: Sendable {
        /// Jobs in a busy worker's hands, with the running one.
        var depth = 4
        var readyDeadline: UInt64 = 600_000_000_000
        /// For how long a worker without a job may leave one unread in its socket, at the least; at the most twice as long.
        var readDeadline: UInt64 = 10_000_000_000
        /// How long a worker that is told to end, and has no job, may take.
        var leaveDeadline: UInt64 = 60_000_000_000
        /// Abnormal ends within one second that are taken without a pause, at the least.
        var restartBurst = 100
        var firstPause: UInt64 = 500_000_000
        var longestPause: UInt64 = 30_000_000_000
    }

    var limits: Limits
    var workers: [Worker] = []
    /// Jobs that no worker has.
    var queue: Deque<UInt64> = []
    /// To be carried out, in order, by the owner, who empties it.
    var actions: [Action] = []
    private(set) var jobCount = 0
    var wanted = 0
    var stopping = false
    /// Moments of abnormal ends, the latest last.
    var failures: Deque<UInt64> = []
    var pause: UInt64 = 0
    /// Workers in a row that ended before they were ready.
    var stillborn = 0
    /// When the workers are next looked at for jobs that they don't read; `.max` while all are known to be read.
    var watchAt: UInt64 = .max

    init(limits: Limits = Limits()) {
        self.limits = limits
        actions.reserveCapacity(16)
    }

    // MARK: Jobs

    /// Takes a job.
    mutating func submit(_ job: UInt64, now: UInt64) {
        jobCount += 1
        if queue.isEmpty, let slot = placeForJob() {
            hand(job, to: slot, now: now)
        } else {
            queue.append(job)
        }
    }

    /// The worker's socket didn't take the job that was last sent to it.
    mutating func sendFailed(slot: Int, job: UInt64) {
        guard workers.indices.contains(slot), let place = workers[slot].jobs.lastIndex(of: job) else { return }
        workers[slot].jobs.remove(at: place)
        workers[slot].full = true
        queue.prepend(job)
    }

    /// The worker has begun the job. False if it can't have.
    mutating func started(_ key: Key, job: UInt64, now: UInt64) -> Bool {
        guard let slot = live(key), workers[slot].jobs.first == job else { return false }
        workers[slot].startedAt = now
        workers[slot].read = job
        return true
    }

    /// The worker has finished the job. False if it doesn't have it: the peer is not to be trusted any more.
    ///
    /// - Parameter isLast: Whether the worker ends now, at a limit of tasks or memory.
    mutating func finished(_ key: Key, job: UInt64, isLast: Bool, now: UInt64) -> Bool {
        guard let slot = live(key), workers[slot].jobs.first == job else { return false }
        workers[slot].jobs.removeFirst()
        workers[slot].startedAt = now
        workers[slot].finished += 1
        workers[slot].full = false
        workers[slot].condemned = false
        settleOne()
        if isLast, workers[slot].phase == .ready { retire(slot: slot, .recycled, isReplaced: true, now: now) }
        if workers[slot].jobs.isEmpty {
            limitLeaving(slot: slot, now: now)
        } else {
            watch(now: now)
        }
        return true
    }

    /// Gives work to the workers that have room. Called after `finished` has been told to the owner, so that
    /// what it submits at once comes first.
    mutating func feed(now: UInt64) {
        while !queue.isEmpty, let slot = placeForJob(), let job = queue.popFirst() {
            hand(job, to: slot, now: now)
        }
        guard queue.isEmpty else { return }
        // One at a time: where it goes is decided when it is known.
        if workers.count > 1, workers.contains(where: { $0.isIdle }), let victim = richest() {
            actions.append(.reclaim(slot: victim))
        }
    }

    /// One job, or none, was read back from a worker.
    mutating func reclaimed(slot: Int, job: UInt64?, now: UInt64) {
        guard workers.indices.contains(slot) else { return }
        guard let job, let place = workers[slot].jobs.firstIndex(of: job) else {
            // It has taken all that it was sent; its results are on their way.
            workers[slot].full = true
            feed(now: now)
            return
        }
        workers[slot].jobs.remove(at: place)
        queue.prepend(job)
        feed(now: now)
    }

    /// Where a job is.
    enum Place: Equatable {
        case queue
        /// Sent to a worker, which may have begun it.
        case sent(slot: Int)
        case unknown
    }

    func place(of job: UInt64) -> Place {
        if queue.contains(job) { return .queue }
        for worker in workers where worker.jobs.contains(job) { return .sent(slot: worker.key.slot) }
        return .unknown
    }

    /// Takes back what `slot` hasn't read: `jobs`, in order, were read from its socket.
    mutating func returned(slot: Int, jobs: [UInt64], now: UInt64) {
        guard workers.indices.contains(slot) else { return }
        for job in jobs.reversed() {
            if let place = workers[slot].jobs.firstIndex(of: job) {
                workers[slot].jobs.remove(at: place)
                queue.prepend(job)
            }
        }
        if workers[slot].jobs.isEmpty { limitLeaving(slot: slot, now: now) }
    }

    /// Removes a job that is in the queue. False if it isn't there.
    mutating func removeQueued(_ job: UInt64) -> Bool {
        guard let place = queue.firstIndex(of: job) else { return false }
        queue.remove(at: place)
        settleOne()
        return true
    }

    /// Removes all jobs in the queue.
    mutating func removeAllQueued() -> [UInt64] {
        let removed = Array(queue)
        queue.removeAll()
        for _ in removed { settleOne() }
        return removed
    }

    /// A signal is about to be sent to a job's worker. Nil unless it is running there.
    mutating func condemn(_ job: UInt64) -> Key? {
        for slot in workers.indices where workers[slot].jobs.first == job {
            workers[slot].condemned = true
            return workers[slot].key
        }
        return nil
    }

    // MARK: Choosing

    /// The worker for the next job: an idle one, else the ready one with the fewest.
    private func placeForJob() -> Int? {
        var best: Int?
        var fewest = limits.depth
        for slot in workers.indices {
            let worker = workers[slot]
            guard worker.phase == .ready, !worker.full else { continue }
            let count = worker.jobs.count
            if count == 0 { return slot }
            if count < fewest, !worker.condemned {
                fewest = count
                best = slot
            }
        }
        return best
    }

    /// The worker with the most jobs that can be taken back.
    private func richest() -> Int? {
        var best: Int?
        var most = 1
        for slot in workers.indices where workers[slot].jobs.count > most && !workers[slot].full {
            most = workers[slot].jobs.count
            best = slot
        }
        return best
    }

    private mutating func hand(_ job: UInt64, to slot: Int, now: UInt64) {
        if workers[slot].jobs.isEmpty {
            workers[slot].startedAt = now
            watch(now: now)
        }
        workers[slot].jobs.append(job)
        actions.append(.send(slot: slot, job: job))
    }

    mutating func settleOne() {
        jobCount -= 1
        if jobCount == 0 { actions.append(.idle) }
    }

    /// The slot of a process that may still report something.
    func live(_ key: Key) -> Int? {
        guard workers.indices.contains(key.slot), workers[key.slot].key == key else { return nil }
        switch workers[key.slot].phase {
        case .absent, .waiting, .starting: return nil
        case .ready, .stopping, .exited: return key.slot
        }
    }
}
