import DequeModule
import Spawning
import Testing

@testable import PythonPool

/// Carries out a machine's actions on workers that are lists.
struct PoolModel {
    struct Process {
        var key: PoolMachine.Key
        var ready = false
        /// Sent and not read.
        var socket: [UInt64] = []
        var running: UInt64?
        var closed = false
        /// It neither reads nor ends, as if it had been sent SIGSTOP.
        var hangs = false
    }

    var machine: PoolMachine
    var processes: [Int: Process] = [:]
    var finished: [UInt64] = []
    var lost: [UInt64] = []
    var withdrawn: [UInt64] = []
    var began: Set<UInt64> = []
    var idle = 0
    var kills: [Int32] = []
    var causes: [WorkerExit.Cause] = []
    var inspections = 0
    var now: UInt64 = 1
    /// Messages that a socket takes.
    var capacity = 100

    init(limits: PoolMachine.Limits = PoolMachine.Limits()) {
        machine = PoolMachine(limits: limits)
    }

    /// So many workers that are ready.
    init(workers count: Int, limits: PoolMachine.Limits = PoolMachine.Limits()) {
        self.init(limits: limits)
        machine.resize(to: count, now: 1)
        pump()
        for slot in 0..<count { ready(slot) }
    }

    mutating func pump() {
        while !machine.actions.isEmpty {
            let action = machine.actions.removeFirst()
            switch action {
            case .send(let slot, let job):
                if let process = processes[slot], !process.closed, process.socket.count < capacity {
                    processes[slot]?.socket.append(job)
                } else {
                    machine.sendFailed(slot: slot, job: job)
                }
            case .reclaim(let slot):
                let job = processes[slot].flatMap { $0.socket.isEmpty ? nil : $0.socket[0] }
                if job != nil { processes[slot]?.socket.removeFirst() }
                machine.reclaimed(slot: slot, job: job, now: now)
            case .spawn(let key): processes[key.slot] = Process(key: key)
            case .kill(let key, let signal):
                kills.append(signal)
                if processes[key.slot]?.key == key, signal == 9 { die(key.slot) }
            case .closeJobs(let key):
                guard processes[key.slot]?.key == key else { continue }
                let unread = takeUnread(key.slot)
                processes[key.slot]?.closed = true
                machine.returned(slot: key.slot, jobs: unread, now: now)
                machine.feed(now: now)
            case .inspect(let key):
                inspections += 1
                guard let process = processes[key.slot], process.key == key else { continue }
                let hasRead = process.socket.first != machine.workers[key.slot].jobs.first
                machine.inspected(key, unread: hasRead ? [] : takeUnread(key.slot), now: now)
            case .backOff: break
            case .idle: idle += 1
            }
        }
    }

    mutating func submit(_ job: UInt64) {
        machine.submit(job, now: now)
        pump()
    }

    mutating func ready(_ slot: Int) {
        guard let process = processes[slot], !process.ready else { return }
        processes[slot]?.ready = true
        expect(machine.ready(process.key, pid: Int32(slot) + 100, now: now), true)
        pump()
    }

    /// The worker reads its next job.
    mutating func begin(_ slot: Int) {
        guard let process = processes[slot], process.ready, process.running == nil, !process.socket.isEmpty,
            !process.hangs
        else { return }
        let job = processes[slot]?.socket.removeFirst()
        processes[slot]?.running = job
        if let job { #expect(began.insert(job).inserted, "job \(job) began twice") }
    }

    mutating func finish(_ slot: Int, isLast: Bool = false) {
        guard let process = processes[slot], let job = process.running, !process.hangs else { return }
        processes[slot]?.running = nil
        expect(machine.finished(process.key, job: job, isLast: isLast, now: now), true)
        finished.append(job)
        machine.feed(now: now)
        pump()
    }

    mutating func die(_ slot: Int) {
        guard let process = processes.removeValue(forKey: slot) else { return }
        _ = machine.exited(process.key, pid: 1, exit: .signal(9))
        _ = machine.streamClosed(process.key)
        let departure = machine.buried(process.key, unread: process.socket, now: now)
        if let departure { causes.append(departure.exit.cause) }
        if let job = departure?.lost {
            lost.append(job)
            #expect(job == process.running, "only the running job is lost")
        } else {
            #expect(process.running == nil)
        }
        pump()
    }

    private mutating func takeUnread(_ slot: Int) -> [UInt64] {
        let unread = processes[slot]?.socket ?? []
        processes[slot]?.socket = []
        return unread
    }

    @discardableResult
    mutating func terminate(_ job: UInt64) -> Bool {
        if case .sent(let slot) = machine.place(of: job) {
            machine.returned(slot: slot, jobs: takeUnread(slot), now: now)
        }
        let isRunning = machine.terminate(job, signal: 15, grace: 100, now: now)
        machine.feed(now: now)
        pump()
        return isRunning
    }

    mutating func tick(_ moment: UInt64) {
        now = moment
        machine.tick(now: now)
        pump()
    }

    mutating func withdraw(_ job: UInt64) {
        if case .sent(let slot) = machine.place(of: job) {
            machine.returned(slot: slot, jobs: takeUnread(slot), now: now)
        }
        if machine.removeQueued(job) {
            withdrawn.append(job)
            #expect(!began.contains(job))
        }
        machine.feed(now: now)
        pump()
    }
}

/// `#expect` can't call mutating functions.
func expect(_ found: Bool, _ expected: Bool, _ location: SourceLocation = #_sourceLocation) {
    #expect(found == expected, sourceLocation: location)
}
