import Testing

@testable import PythonPool

/// Carries out a machine's actions on workers that are lists.
private struct Model {
    struct Process {
        var key: PoolMachine.Key
        var ready = false
        /// Sent and not read.
        var socket: [UInt64] = []
        var running: UInt64?
        var closed = false
    }

    var machine = PoolMachine()
    var processes: [Int: Process] = [:]
    var finished: [UInt64] = []
    var lost: [UInt64] = []
    var withdrawn: [UInt64] = []
    var began: Set<UInt64> = []
    var idle = 0
    var now: UInt64 = 1
    /// Messages that a socket takes.
    var capacity = 100

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
            case .kill(let key, _): die(key.slot)
            case .closeJobs(let key):
                let unread = processes[key.slot]?.socket ?? []
                processes[key.slot]?.socket = []
                processes[key.slot]?.closed = true
                machine.returned(slot: key.slot, jobs: unread)
                machine.feed(now: now)
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
        guard let process = processes[slot], process.ready, process.running == nil, !process.socket.isEmpty else {
            return
        }
        let job = processes[slot]?.socket.removeFirst()
        processes[slot]?.running = job
        if let job { #expect(began.insert(job).inserted, "job \(job) began twice") }
    }

    mutating func finish(_ slot: Int) {
        guard let process = processes[slot], let job = process.running else { return }
        processes[slot]?.running = nil
        expect(machine.finished(process.key, job: job, now: now), true)
        finished.append(job)
        machine.feed(now: now)
        pump()
    }

    mutating func die(_ slot: Int) {
        guard let process = processes.removeValue(forKey: slot) else { return }
        _ = machine.exited(process.key, pid: 1, exit: .signal(9))
        _ = machine.streamClosed(process.key)
        let departure = machine.buried(process.key, unread: process.socket, now: now)
        if let job = departure?.lost {
            lost.append(job)
            #expect(job == process.running, "only the running job is lost")
        } else {
            #expect(process.running == nil)
        }
        pump()
    }

    mutating func withdraw(_ job: UInt64) {
        if case .sent(let slot) = machine.place(of: job) {
            let unread = processes[slot]?.socket ?? []
            processes[slot]?.socket = []
            machine.returned(slot: slot, jobs: unread)
        }
        if machine.removeQueued(job) {
            withdrawn.append(job)
            #expect(!began.contains(job))
        }
        machine.feed(now: now)
        pump()
    }
}

@Suite("PoolMachine")
struct PoolMachineTests {
    private func started(_ count: Int) -> Model {
        var model = Model()
        model.machine.resize(to: count, now: 1)
        model.pump()
        for slot in 0..<count { model.ready(slot) }
        return model
    }

    @Test("Jobs wait for a worker to be ready, then go to idle ones first")
    func dispatch() {
        var machine = PoolMachine()
        machine.resize(to: 2, now: 1)
        let keys = [PoolMachine.Key(slot: 0, generation: 1), PoolMachine.Key(slot: 1, generation: 1)]
        #expect(machine.actions == [.spawn(keys[0]), .spawn(keys[1])])
        machine.actions = []
        machine.submit(1, now: 1)
        #expect(machine.actions.isEmpty)
        expect(machine.ready(keys[1], pid: 7, now: 2), true)
        #expect(machine.actions == [.send(slot: 1, job: 1)])
        machine.actions = []
        machine.submit(2, now: 2)
        #expect(machine.actions == [.send(slot: 1, job: 2)])
        machine.actions = []
        expect(machine.ready(keys[0], pid: 8, now: 3), true)
        #expect(machine.actions == [.reclaim(slot: 1)])
        machine.actions = []
        machine.reclaimed(slot: 1, job: 2, now: 3)
        #expect(machine.actions == [.send(slot: 0, job: 2)])
    }

    @Test("No more than `depth` jobs are in a worker's hands")
    func depth() {
        var model = started(1)
        for job in 1...9 as ClosedRange<UInt64> { model.submit(job) }
        #expect(model.processes[0]?.socket == [1, 2, 3, 4])
        model.begin(0)
        model.finish(0)
        #expect(model.processes[0]?.socket == [2, 3, 4, 5])
    }

    @Test("A result or a start that a worker can't report is refused")
    func lies() {
        var model = started(1)
        model.submit(1)
        model.submit(2)
        let key = PoolMachine.Key(slot: 0, generation: 1)
        expect(model.machine.finished(key, job: 2, now: 1), false)
        expect(model.machine.started(key, job: 9, now: 1), false)
        expect(model.machine.finished(PoolMachine.Key(slot: 0, generation: 2), job: 1, now: 1), false)
        expect(model.machine.finished(PoolMachine.Key(slot: 5, generation: 1), job: 1, now: 1), false)
        expect(model.machine.ready(key, pid: 1, now: 1), false)
        expect(model.machine.finished(key, job: 1, now: 1), true)
    }

    @Test("A worker that isn't ready in time is killed once")
    func deadline() {
        var machine = PoolMachine(limits: PoolMachine.Limits(readyDeadline: 100))
        machine.resize(to: 1, now: 0)
        machine.actions = []
        #expect(machine.nextDeadline == 100)
        machine.tick(now: 99)
        #expect(machine.actions.isEmpty)
        machine.tick(now: 100)
        machine.tick(now: 101)
        #expect(machine.actions == [.kill(PoolMachine.Key(slot: 0, generation: 1), signal: 9)])
        #expect(machine.nextDeadline == nil)
    }

    @Test("Workers that die before they are ready are replaced after growing pauses")
    func backOff() {
        var machine = PoolMachine(limits: PoolMachine.Limits(firstPause: 10, longestPause: 30))
        machine.resize(to: 1, now: 0)
        var now: UInt64 = 0
        var pauses: [UInt64] = []
        for _ in 0..<7 {
            let key = machine.workers[0].key
            _ = machine.exited(key, pid: 1, exit: .code(1))
            _ = machine.streamClosed(key)
            _ = machine.buried(key, unread: [], now: now)
            for case .backOff(let pause) in machine.actions { pauses.append(pause) }
            machine.actions = []
            if let next = machine.nextDeadline, next > now, case .waiting = machine.workers[0].phase {
                now = next
                machine.tick(now: now)
            }
        }
        #expect(pauses == [10, 20, 30, 30, 30])
        expect(machine.ready(machine.workers[0].key, pid: 1, now: now), true)
        #expect(machine.pause == 0)
    }

    @Test("Fewer workers: idle ones leave at once, and jobs are not lost")
    func shrink() {
        var model = started(3)
        model.submit(1)
        model.begin(0)
        model.machine.resize(to: 1, now: 1)
        model.pump()
        #expect(model.processes[0]?.closed == false)
        #expect(model.processes[1]?.closed == true)
        #expect(model.processes[2]?.closed == true)
        model.die(1)
        model.die(2)
        #expect(model.processes.count == 1)
        model.finish(0)
        #expect(model.finished == [1])
        #expect(model.idle == 1)
    }

    @Test("Each job ends exactly once, whatever happens", arguments: 0..<200)
    func property(seed: Int) {
        var generator = SplitMix(state: UInt64(seed))
        var model = Model()
        model.capacity = [1, 2, 100][Int.random(in: 0..<3, using: &generator)]
        model.machine.resize(to: Int.random(in: 1...4, using: &generator), now: 1)
        model.pump()
        var last: UInt64 = 0
        for _ in 0..<600 {
            model.now += 1_000_000
            let slot = Int.random(in: 0..<5, using: &generator)
            switch Int.random(in: 0..<14, using: &generator) {
            case 0..<4:
                last += 1
                model.submit(last)
            case 4..<7: model.begin(slot)
            case 7..<10: model.finish(slot)
            case 10: model.ready(slot)
            case 11: if Int.random(in: 0..<4, using: &generator) == 0 { model.die(slot) }
            case 12: if last > 0 { model.withdraw(UInt64.random(in: 1...last, using: &generator)) }
            default:
                if Int.random(in: 0..<8, using: &generator) == 0 {
                    model.machine.resize(to: Int.random(in: 1...4, using: &generator), now: model.now)
                    model.machine.feed(now: model.now)
                    model.pump()
                }
                model.machine.tick(now: model.now)
                model.pump()
            }
        }
        // Let all that is left run.
        var rounds = 0
        while model.machine.jobCount > 0, rounds < 10_000 {
            rounds += 1
            model.now += 40_000_000_000
            model.machine.tick(now: model.now)
            model.pump()
            for slot in 0..<5 {
                model.ready(slot)
                model.begin(slot)
                model.finish(slot)
                if let process = model.processes[slot], process.closed, process.running == nil { model.die(slot) }
            }
        }
        let ended = model.finished + model.lost + model.withdrawn
        #expect(ended.sorted() == (last == 0 ? [] : Array(1...last)))
        #expect(model.machine.queue.isEmpty)
    }
}

private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}

/// `#expect` can't call mutating functions.
private func expect(_ found: Bool, _ expected: Bool, _ location: SourceLocation = #_sourceLocation) {
    #expect(found == expected, sourceLocation: location)
}
