import DequeModule

/// The lives of the workers.
extension PoolMachine {
    /// Sets how many workers there are to be. More are started; of too many, idle ones leave first.
    mutating func resize(to count: Int, now: UInt64) {
        wanted = max(0, count)
        guard !stopping else { return }
        var present = workers.count { $0.phase.counts }
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
            for slot in workers.indices.reversed() where present > wanted && workers[slot].phase.counts {
                guard !idleOnly || workers[slot].jobs.isEmpty else { continue }
                retire(slot: slot)
                present -= 1
            }
        }
    }

    /// Ends all workers after the jobs that they run.
    mutating func stop() {
        stopping = true
        for slot in workers.indices where workers[slot].phase.counts { retire(slot: slot) }
    }

    /// The process of a worker is known.
    mutating func forked(_ key: Key, pid: Int32) {
        guard workers.indices.contains(key.slot), workers[key.slot].key == key else { return }
        workers[key.slot].pid = pid
    }

    /// A worker has initialised itself. False if it can't have.
    mutating func ready(_ key: Key, pid: Int32, now: UInt64) -> Bool {
        guard workers.indices.contains(key.slot), workers[key.slot].key == key else { return false }
        switch workers[key.slot].phase {
        case .starting: workers[key.slot].phase = .ready
        case .stopping: break
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
        let expected: Bool
        switch workers[key.slot].phase {
        case .absent, .waiting, .exited: return false
        case .stopping: expected = true
        case .starting, .ready: expected = exit == .code(155)
        }
        workers[key.slot].pid = pid
        workers[key.slot].phase = .exited(WorkerExit(pid: pid, index: key.slot + 1, exit: exit, expected: expected))
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
            case .exited(let exit) = workers[key.slot].phase
        else { return nil }
        returned(slot: key.slot, jobs: unread)
        let lost = workers[key.slot].jobs.popFirst()
        // There can be no others: a worker reads a job only when it has finished the last. Should a broken
        // one have done so, its jobs are as good as not begun.
        for job in workers[key.slot].jobs.reversed() { queue.prepend(job) }
        workers[key.slot].jobs.removeAll()
        if lost != nil { settleOne() }
        workers[key.slot].phase = .absent
        workers[key.slot].pid = 0
        if !stopping, workers.count(where: { $0.phase.counts }) < wanted {
            replace(slot: key.slot, abnormal: !exit.expected, now: now)
        }
        feed(now: now)
        return Departure(exit: exit, lost: lost)
    }

    /// The clock has moved.
    mutating func tick(now: UInt64) {
        for slot in workers.indices {
            switch workers[slot].phase {
            case .waiting(let until) where until <= now:
                spawn(slot: slot, now: now)
            case .starting(let deadline) where deadline <= now:
                workers[slot].phase = .starting(deadline: .max)
                actions.append(.kill(workers[slot].key, signal: 9))
            default:
                break
            }
        }
    }

    /// The next moment at which `tick` has something to do.
    var nextDeadline: UInt64? {
        var next: UInt64?
        for worker in workers {
            switch worker.phase {
            case .waiting(let moment), .starting(let moment):
                if moment != .max { next = min(next ?? .max, moment) }
            case .absent, .ready, .stopping, .exited:
                break
            }
        }
        return next
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
    private mutating func retire(slot: Int) {
        if case .waiting = workers[slot].phase {
            workers[slot].phase = .absent
            return
        }
        workers[slot].phase = .stopping
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

extension PoolMachine.Phase {
    /// Whether a worker in this phase is one of the wanted number.
    var counts: Bool {
        switch self {
        case .waiting, .starting, .ready: true
        case .absent, .stopping, .exited: false
        }
    }
}
