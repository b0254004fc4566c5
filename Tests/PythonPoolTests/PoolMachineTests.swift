import DequeModule
import Testing

@testable import PythonPool

@Suite("PoolMachine")
struct PoolMachineTests {
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
        var model = PoolModel(workers: 1)
        for job in 1...9 as ClosedRange<UInt64> { model.submit(job) }
        #expect(model.processes[0]?.socket == [1, 2, 3, 4])
        model.begin(0)
        model.finish(0)
        #expect(model.processes[0]?.socket == [2, 3, 4, 5])
    }

    @Test("A result or a start that a worker can't report is refused")
    func lies() {
        var model = PoolModel(workers: 1)
        model.submit(1)
        model.submit(2)
        let key = PoolMachine.Key(slot: 0, generation: 1)
        expect(model.machine.finished(key, job: 2, isLast: false, now: 1), false)
        expect(model.machine.started(key, job: 9, now: 1), false)
        let others = [PoolMachine.Key(slot: 0, generation: 2), PoolMachine.Key(slot: 5, generation: 1)]
        for other in others { expect(model.machine.finished(other, job: 1, isLast: false, now: 1), false) }
        expect(model.machine.ready(key, pid: 1, now: 1), false)
        expect(model.machine.finished(key, job: 1, isLast: false, now: 1), true)
    }

    @Test("Each job ends exactly once, whatever happens", arguments: 0..<200)
    func property(seed: Int) {
        var generator = SplitMix(state: UInt64(seed))
        var model = PoolModel()
        model.capacity = [1, 2, 100][Int.random(in: 0..<3, using: &generator)]
        model.machine.resize(to: Int.random(in: 1...4, using: &generator), now: 1)
        model.pump()
        var last: UInt64 = 0
        for _ in 0..<600 {
            model.now += 1_000_000
            let slot = Int.random(in: 0..<5, using: &generator)
            switch Int.random(in: 0..<18, using: &generator) {
            case 0..<4:
                last += 1
                model.submit(last)
            case 4..<7: model.begin(slot)
            case 7..<10: model.finish(slot, isLast: Int.random(in: 0..<10, using: &generator) == 0)
            case 14: if last > 0 { model.terminate(UInt64.random(in: 1...last, using: &generator)) }
            case 15: if Int.random(in: 0..<8, using: &generator) == 0 { model.processes[slot]?.hangs = true }
            case 16:
                if Int.random(in: 0..<10, using: &generator) == 0 {
                    model.machine.restart(now: model.now)
                    model.machine.feed(now: model.now)
                    model.pump()
                }
            case 17: model.tick(model.now + UInt64.random(in: 0...20_000_000_000, using: &generator))
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
                if let process = model.processes[slot], process.closed, process.running == nil || process.hangs {
                    model.die(slot)
                }
                // A job that hangs is nobody's to end but its time limit's.
                if let process = model.processes[slot], process.hangs, let job = process.running {
                    model.terminate(job)
                }
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
