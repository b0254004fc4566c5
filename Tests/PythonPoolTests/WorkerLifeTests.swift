import DequeModule
import Spawning
import Testing

@testable import PythonPool

@Suite("PoolMachine: the lives of the workers")
struct WorkerLifeTests {
    @Test("A worker that isn't ready in time is killed once")
    func deadline() {
        var machine = PoolMachine(limits: PoolMachine.Limits(readyDeadline: 100))
        machine.resize(to: 1, now: 0)
        machine.actions = []
        let key = PoolMachine.Key(slot: 0, generation: 1)
        // Its time begins when it has been forked, for which the main process may be too busy.
        machine.forked(key, pid: 7, now: 50)
        #expect(machine.nextDeadline == 150)
        machine.tick(now: 149)
        #expect(machine.actions.isEmpty)
        machine.tick(now: 150)
        machine.tick(now: 151)
        #expect(machine.actions == [.kill(key, signal: 9)])
        #expect(machine.nextDeadline == nil)
        expect(machine.ready(key, pid: 7, now: 151), true)
        machine.submit(1, now: 151)
        #expect(machine.queue == [1])
        _ = machine.exited(key, pid: 7, exit: .signal(9))
        #expect(machine.buried(key, unread: [], now: 152)?.exit.cause == .notReady)
        #expect(machine.workers[0].key.generation == 2)
    }

    @Test("A worker that the main process does not fork is told of once, and has its time when it is forked")
    func neverForked() {
        var machine = PoolMachine(limits: PoolMachine.Limits(readyDeadline: 100))
        machine.resize(to: 1, now: 0)
        machine.actions = []
        let key = PoolMachine.Key(slot: 0, generation: 1)
        machine.tick(now: 100)
        machine.tick(now: 300)
        #expect(machine.actions == [.kill(key, signal: 9)])
        machine.forked(key, pid: 7, now: 400)
        #expect(machine.nextDeadline == 500)
        expect(machine.ready(key, pid: 7, now: 450), true)
    }

    @Test("A terminated job's worker gets the signal, then SIGKILL, and is replaced; what waits behind it goes on")
    func termination() {
        var model = PoolModel(workers: 2)
        model.submit(1)
        model.submit(2)
        model.submit(3)
        model.begin(0)
        model.begin(1)
        let isRunning = model.terminate(1)
        #expect(isRunning)
        #expect(model.kills == [15])
        #expect(model.processes[0]?.closed == true)
        #expect(model.processes[1]?.socket == [3])
        #expect(model.machine.nextDeadline == 101)
        model.tick(101)
        #expect(model.kills == [15, 9])
        #expect(model.lost == [1])
        #expect(model.causes == [.terminated])
        #expect(model.processes[0]?.key.generation == 2)
        model.tick(10_000)
        #expect(model.kills == [15, 9])
    }

    @Test("A terminated job that finishes first is not lost, and its worker takes no other")
    func terminatedTooLate() {
        var model = PoolModel(workers: 1)
        model.submit(1)
        model.begin(0)
        let isRunning = model.terminate(1)
        #expect(isRunning)
        model.submit(2)
        model.finish(0)
        #expect(model.processes[0]?.socket == [])
        model.tick(101)
        #expect(model.lost == [])
        #expect(model.finished == [1])
        model.ready(0)
        #expect(model.processes[0]?.socket == [2])
    }

    @Test("A job that its worker has not read is not terminated: it can be withdrawn")
    func terminateUnread() {
        var model = PoolModel(workers: 1)
        model.submit(1)
        let isRunning = model.terminate(1)
        #expect(!isRunning)
        #expect(model.kills == [])
        model.withdraw(1)
        #expect(model.withdrawn == [1])
    }

    @Test("A restart replaces idle workers at once and busy ones after their job")
    func restart() {
        var model = PoolModel(workers: 3)
        model.submit(1)
        model.begin(0)
        model.machine.resize(to: 4, now: 1)
        model.machine.restart(now: 1)
        model.pump()
        #expect(model.processes.values.allSatisfy { $0.closed })
        // None is started beside those that are to be replaced.
        model.machine.resize(to: 4, now: 1)
        #expect(model.machine.workers.count == 4)
        for slot in 1...3 { model.die(slot) }
        #expect(model.processes[0]?.key.generation == 1)
        for slot in 1...3 { #expect(model.processes[slot]?.key.generation == 2) }
        model.finish(0)
        model.die(0)
        #expect(model.processes[0]?.key.generation == 2)
        #expect(model.finished == [1])
        #expect(model.causes == Array(repeating: .retired, count: 4))
        #expect(model.machine.failures.isEmpty)
    }

    @Test("A worker that is told to end and doesn't is killed, but not while it has a job")
    func leaving() {
        var model = PoolModel(workers: 2, limits: PoolMachine.Limits(leaveDeadline: 1000))
        model.submit(1)
        model.begin(0)
        model.machine.restart(now: 1)
        model.pump()
        model.tick(1001)
        #expect(model.kills == [9])
        #expect(model.processes[1]?.key.generation == 2)
        model.tick(5000)
        model.finish(0)
        #expect(model.machine.nextDeadline != nil)
        model.tick(6000)
        #expect(model.kills == [9, 9])
        #expect(model.lost == [])
    }

    @Test("Shrinking ends idle workers only, and tells how many there were")
    func shrinkBy() {
        var model = PoolModel(workers: 3)
        model.submit(1)
        model.begin(0)
        let first = model.machine.shrink(by: 1, now: 1)
        #expect(first == 1)
        model.pump()
        #expect(model.processes.values.filter(\.closed).count == 1)
        let second = model.machine.shrink(by: 5, now: 1)
        #expect(second == 1)
        model.pump()
        #expect(model.machine.wanted == 1)
        #expect(model.processes[0]?.closed == false)
        let third = model.machine.shrink(by: 1, now: 1)
        #expect(third == 0)
        #expect(model.machine.wanted == 1)
    }

    @Test("What was sent ahead to a worker that reaches its limit goes to another at once")
    func recycled() {
        var model = PoolModel(workers: 2)
        for job in 1...4 as ClosedRange<UInt64> { model.submit(job) }
        model.begin(0)
        model.begin(1)
        #expect(model.processes[0]?.socket == [3])
        model.finish(0, isLast: true)
        #expect(model.processes[1]?.socket.sorted() == [3, 4])
        model.submit(5)
        #expect(model.processes[0]?.socket == [])
        model.die(0)
        #expect(model.causes == [.recycled])
        #expect(model.processes[0]?.key.generation == 2)
        #expect(model.machine.failures.isEmpty)
    }

    @Test("A job that leaves with the status of a recycled worker is lost by itself")
    func leavesAsIfRecycled() {
        var model = PoolModel(workers: 1)
        model.submit(1)
        model.begin(0)
        let key = PoolMachine.Key(slot: 0, generation: 1)
        _ = model.machine.exited(key, pid: 1, exit: .code(155))
        let departure = model.machine.buried(key, unread: [], now: 1)
        #expect(departure?.lost == 1)
        #expect(departure?.exit.cause == .unasked)
        #expect(departure?.exit.expected == false)
    }

    @Test("A worker that leaves its job unread is killed, and the job goes to another; a busy one is left alone")
    func unread() {
        var model = PoolModel(workers: 2, limits: PoolMachine.Limits(readDeadline: 100))
        model.processes[0]?.hangs = true
        model.submit(1)
        model.submit(2)
        model.begin(1)
        #expect(model.machine.nextDeadline == 101)
        model.tick(101)
        #expect(model.kills == [])
        model.tick(201)
        #expect(model.kills == [9])
        #expect(model.causes == [.unresponsive])
        #expect(model.lost == [])
        #expect(model.machine.workers[1].jobs == [2, 1])
        #expect(model.processes[0]?.key.generation == 2)
        // The other has been looked at once, and is not any more while it runs its job.
        model.tick(301)
        #expect(model.inspections == 2)
        #expect(model.machine.watchAt == .max)
        model.finish(1)
        #expect(model.machine.watchAt == 401)
        model.begin(1)
        model.finish(1)
        model.tick(401)
        #expect(model.machine.watchAt == .max)
        #expect(model.finished == [2, 1])
    }

    @Test("Of what a worker reads between the look and the reading back, nothing is lost and nothing is run twice")
    func readAtTheLastMoment() {
        var model = PoolModel(workers: 1)
        model.submit(1)
        model.submit(2)
        let key = PoolMachine.Key(slot: 0, generation: 1)
        model.begin(0)
        // The look found 1 unread; then the worker read it, so that only 2 could be read back.
        model.processes[0]?.socket = []
        model.machine.inspected(key, unread: [2], now: 5)
        model.pump()
        #expect(model.kills == [])
        #expect(model.machine.workers[0].jobs == [1, 2])
        #expect(model.processes[0]?.socket == [2])
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
        var model = PoolModel(workers: 3)
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
}
