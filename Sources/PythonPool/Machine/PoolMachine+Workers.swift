import DequeModule
import Spawning

/// The lives of the workers.
extension PoolMachine {
    /// Sets how many workers there are to be. More are started; of too many, idle ones leave first.
    mutating func resize(to count: Int, now: UInt64) {
        wanted = max(0, count)
        guard !stopping else { return }
        var present = workers.count { $0.counts }
        for slot in workers.indices where present < wanted && workers[slot].phase == .absent {
            spawn(slot: slot, now: now)
            present += 1
        }
        while present < wanted {
            workers.append(Worker(key: Key(slot: workers.count, generation: 0)))
            spawn(slot: workers.count - 1, now: now)
            present += 1
        }
        for idleOnly in [true, false] {
            for slot in workers.indices.reversed() where present > wanted && workers[slot].counts {
                guard !idleOnly || workers[slot].jobs.isEmpty else { continue }
                retire(slot: slot, .retired, isReplaced: false, now: now)
                present -= 1
            }
        }
    }

    /// Ends so many workers that have no job, if there are as many; returns how many it ends.
    mutating func shrink(by count: Int, now: UInt64) -> Int {
        let idle = workers.count { $0.counts && $0.jobs.isEmpty }
        let leaving = max(0, min(count, idle))
        resize(to: wanted - leaving, now: now)
        return leaving
    }

    /// Replaces all workers: those that have a job when they have finished it.
    mutating func restart(now: UInt64) {
        guard !stopping else { return }
        for slot in workers.indices {
            switch workers[slot].phase {
            // What is yet to be started is new anyway.
            case .absent, .waiting, .stopping, .exited: break
            case .starting, .ready: retire(slot: slot, .retired, isReplaced: true, now: now)
            }
        }
    }

    /// Ends all workers after the jobs that they run.
    mutating func stop(now: UInt64) {
        stopping = true
        for slot in workers.indices where workers[slot].counts {
            retire(slot: slot, .retired, isReplaced: false, now: now)
        }
    }

    /// Ends the worker that runs a job: by a signal, and by SIGKILL if that has not helped after `grace`. False if none runs it.
    ///
    /// What the worker hasn't read has to be taken back before: the first job of its list is then one that it runs.
    mutating func terminate(_ job: UInt64, signal: Int32, grace: UInt64, now: UInt64) -> Bool {
        guard let slot = workers.firstIndex(where: { $0.jobs.first == job }), live(workers[slot].key) != nil else {
            return false
        }
        switch workers[slot].phase {
        case .ready: retire(slot: slot, .terminated, isReplaced: true, now: now)
        case .stopping: workers[slot].ending = .terminated
        // It has died of something else.
        case .absent, .waiting, .starting, .exited: return false
        }
        workers[slot].killAt = min(workers[slot].killAt, now &+ grace)
        actions.append(.kill(workers[slot].key, signal: signal))
        return true
    }

    /// The process of a worker is known. From now on it has its time to be ready: the main process may have been busy.
    mutating func forked(_ key: Key, pid: Int32, now: UInt64) {
        guard workers.indices.contains(key.slot), workers[key.slot].key == key else { return }
        workers[key.slot].pid = pid
        if case .starting = workers[key.slot].phase {
            workers[key.slot].phase = .starting(deadline: now &+ limits.readyDeadline)
        }
    }

    /// A worker has initialised itself. False if it can't have.
    mutating func ready(_ key: Key, pid: Int32, now: UInt64) -> Bool {
        guard workers.indices.contains(key.slot), workers[key.slot].key == key else { return false }
        switch workers[key.slot].phase {
        case .starting: workers[key.slot].phase = .ready
        case .stopping:
            // It has been killed for not being so.
            guard workers[key.slot].ending != .notReady else { return true }
            workers[key.slot].killAt = .max
            limitLeaving(slot: key.slot, now: now)
        case .absent, .waiting, .ready, .exited: return false
        }
        workers[key.slot].pid = pid
        workers[key.slot].startedAt = now
        workers[key.slot].wasReady = true
        pause = 0
        stillborn = 0
        feed(now: now)
        return true
    }

    /// A worker's process has ended, or could not be started. True if its stream has been read to the end too.
    mutating func exited(_ key: Key, pid: Int32, exit: ProcessExit) -> Bool {
        guard workers.indices.contains(key.slot), workers[key.slot].key == key else { return false }
        switch workers[key.slot].phase {
        case .absent, .waiting, .exited: return false
        case .stopping, .starting, .ready: break
        }
        let cause = workers[key.slot].ending ?? (exit == .code(155) ? .recycled : .unasked)
        workers[key.slot].pid = pid
        workers[key.slot].phase = .exited(WorkerExit(pid: pid, index: key.slot + 1, exit: exit, cause: cause))
        return workers[key.slot].streamClosed
    }

    /// Nothing more comes from a worker. True if its process is known to have ended.
    mutating func streamClosed(_ key: Key) -> Bool {
        guard workers.indices.contains(key.slot), workers[key.slot].key == key else { return false }
        workers[key.slot].streamClosed = true
        if case .exited = workers[key.slot].phase { return true }
        return false
    }

    /// The end of a worker, once all that it sent has been read.
    struct Departure: Equatable {
        var exit: WorkerExit
        var lost: UInt64?
    }

    /// Buries a worker. `unread` are the jobs that were read back from its socket: it had not begun them.
    mutating func buried(_ key: Key, unread: [UInt64], now: UInt64) -> Departure? {
        guard workers.indices.contains(key.slot), workers[key.slot].key == key,
            case .exited(var exit) = workers[key.slot].phase
        else { return nil }
        returned(slot: key.slot, jobs: unread, now: now)
        let lost = workers[key.slot].jobs.popFirst()
        // At a limit a worker ends between two jobs: this one's job has left with the same status.
        if lost != nil, exit.cause == .recycled { exit.cause = .unasked }
        // There can be no others: a worker reads a job only when it has finished the last. Should a broken
        // one have done so, its jobs are as good as not begun.
        for job in workers[key.slot].jobs.reversed() { queue.prepend(job) }
        workers[key.slot].jobs.removeAll()
        if lost != nil { settleOne() }
        workers[key.slot].phase = .absent
        workers[key.slot].pid = 0
        if !stopping, workers.count(where: { $0.counts }) < wanted {
            replace(slot: key.slot, abnormal: !exit.expected, now: now)
        }
        feed(now: now)
        return Departure(exit: exit, lost: lost)
    }

    /// A worker has been looked at: `unread` are the jobs that were read back from its socket because the first of its list was among them.
    mutating func inspected(_ key: Key, unread: [UInt64], now: UInt64) {
        guard workers.indices.contains(key.slot), workers[key.slot].key == key, workers[key.slot].phase == .ready,
            let first = workers[key.slot].jobs.first
        else { return returned(slot: key.slot, jobs: unread, now: now) }
        returned(slot: key.slot, jobs: unread, now: now)
        if unread.contains(first) {
            // It has had nothing to do but to read it. What was read back it can't begin any more.
            retire(slot: key.slot, .unresponsive, isReplaced: true, now: now)
            workers[key.slot].killAt = .max
            actions.append(.kill(key, signal: 9))
        } else {
            workers[key.slot].read = first
        }
        feed(now: now)
    }

    /// The clock has moved.
    mutating func tick(now: UInt64) {
        for slot in workers.indices {
            switch workers[slot].phase {
            case .waiting(let until) where until <= now:
                spawn(slot: slot, now: now)
            case .starting(let deadline) where deadline <= now:
                if workers[slot].pid == 0 {
                    // Its time begins when it is forked.
                    workers[slot].phase = .starting(deadline: .max)
                } else {
                    workers[slot].phase = .stopping
                    workers[slot].ending = .notReady
                    workers[slot].isReplaced = true
                }
                actions.append(.kill(workers[slot].key, signal: 9))
            case .stopping where workers[slot].killAt <= now:
                workers[slot].killAt = .max
                actions.append(.kill(workers[slot].key, signal: 9))
            default:
                break
            }
        }
        if watchAt <= now { look(now: now) }
    }

    /// The next moment at which `tick` has something to do.
    var nextDeadline: UInt64? {
        var next = watchAt
        for worker in workers {
            switch worker.phase {
            case .waiting(let moment), .starting(let moment): next = min(next, moment)
            case .stopping: next = min(next, worker.killAt)
            case .absent, .ready, .exited: break
            }
        }
        return next == .max ? nil : next
    }

    /// Makes sure that a worker's first job is looked after: nothing is armed for each job, since most are read at once.
    mutating func watch(now: UInt64) {
        if watchAt == .max { watchAt = now &+ limits.readDeadline }
    }

    /// Has those workers inspected whose first job was their first the last time too, and is not known to have been read.
    private mutating func look(now: UInt64) {
        watchAt = .max
        for slot in workers.indices where workers[slot].phase == .ready {
            guard let job = workers[slot].jobs.first, workers[slot].read != job else { continue }
            if workers[slot].seen == job { actions.append(.inspect(workers[slot].key)) }
            workers[slot].seen = job
            watch(now: now)
        }
    }

    /// A worker that is told to end, and has no job, has not for ever.
    mutating func limitLeaving(slot: Int, now: UInt64) {
        guard workers[slot].phase == .stopping, workers[slot].ending != .unresponsive else { return }
        workers[slot].killAt = min(workers[slot].killAt, now &+ limits.leaveDeadline)
    }

    /// Whether no process is left.
    var isEmpty: Bool {
        workers.allSatisfy { worker in
            switch worker.phase {
            case .absent, .waiting: true
            case .starting, .ready, .stopping, .exited: false
            }
        }
    }

    private mutating func spawn(slot: Int, now: UInt64) {
        let generation = workers[slot].key.generation &+ 1
        let finished = workers[slot].finished
        workers[slot] = Worker(key: Key(slot: slot, generation: generation))
        workers[slot].finished = finished
        workers[slot].phase = .starting(deadline: now &+ limits.readyDeadline)
        actions.append(.spawn(workers[slot].key))
    }

    /// Ends the worker in a slot after its job.
    mutating func retire(slot: Int, _ cause: WorkerExit.Cause, isReplaced: Bool, now: UInt64) {
        workers[slot].isReplaced = isReplaced
        switch workers[slot].phase {
        case .waiting:
            workers[slot].phase = .absent
            return
        case .stopping:
            return
        case .starting(let deadline):
            workers[slot].killAt = deadline
            workers[slot].phase = .stopping
        case .ready, .absent, .exited:
            workers[slot].phase = .stopping
            if workers[slot].jobs.isEmpty { limitLeaving(slot: slot, now: now) }
        }
        workers[slot].ending = cause
        actions.append(.closeJobs(workers[slot].key))
    }

    /// Starts another worker: at once, unless they die like flies.
    private mutating func replace(slot: Int, abnormal: Bool, now: UInt64) {
        if abnormal {
            failures.append(now)
            while let first = failures.first, first &+ 1_000_000_000 <= now { failures.removeFirst() }
            if !workers[slot].wasReady { stillborn += 1 }
            if failures.count > limits.restartBurst || stillborn > 2 * max(1, wanted) {
                pause = pause == 0 ? limits.firstPause : min(pause &* 2, limits.longestPause)
                failures.removeAll()
                actions.append(.backOff(pause))
            }
        }
        if pause > 0 {
            workers[slot].phase = .waiting(until: now &+ pause)
        } else {
            spawn(slot: slot, now: now)
        }
    }
}
