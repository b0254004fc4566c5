import Testing

@testable import CeleryWorker

@Suite("Deadlines")
struct DeadlineQueueTests {
    @Test("the soonest comes first, and none before its time")
    func order() {
        var queue = DeadlineQueue()
        for (job, due) in [(1, 30.0), (2, 10.0), (3, 20.0), (4, 10.0)] {
            queue.insert(Job.ID(job), due: due) { _ in true }
        }
        #expect(queue.next == 10)
        var popped: [Job.ID] = []
        while let job = queue.popDue(by: 20) { popped.append(job) }
        #expect(popped == [2, 4, 3])
        #expect(queue.next == 30)
        #expect(queue.count == 1)
    }

    @Test("entries of jobs that have gone don't pile up, and those of others stay")
    func sweeps() {
        var queue = DeadlineQueue()
        // Each job has gone before the next comes, but for every thousandth.
        for job in 1...100_000 as ClosedRange<Job.ID> {
            queue.insert(job, due: 1_000_000 + Double(job)) { $0 % 1000 == 0 || $0 == job }
        }
        #expect(queue.count < 10_000)
        var live: [Job.ID] = []
        while let job = queue.popDue(by: .infinity) { if job % 1000 == 0 { live.append(job) } }
        #expect(live == Array(stride(from: 1000, through: 100_000, by: 1000)))
    }
}

@Suite("Time limits of running jobs")
struct RunningLimitsTests {
    @Test("the soft limit is told once, then the hard one, each at its time")
    func both() {
        var limits = RunningLimits()
        limits.started(1, TimeLimits(hard: 5, soft: 2), now: 100)
        #expect(limits.due == 102)
        #expect(limits.expire(now: 101.9).isEmpty)
        #expect(limits.expire(now: 102) == [.soft(1, limit: 2)])
        #expect(limits.expire(now: 103).isEmpty)
        #expect(limits.due == 105)
        #expect(limits.expire(now: 105) == [.hard(1, limit: 5)])
        #expect(limits.due == nil)
        #expect(limits.expire(now: 1000).isEmpty)
    }

    @Test("a job that has ended is not told of")
    func ended() {
        var limits = RunningLimits()
        limits.started(1, TimeLimits(hard: 5), now: 0)
        limits.started(2, TimeLimits(hard: 7), now: 0)
        limits.ended(1)
        #expect(limits.due == 7)
        #expect(limits.expire(now: 10) == [.hard(2, limit: 7)])
    }

    @Test("a look that comes too late for the soft limit finds the hard one")
    func late() {
        var limits = RunningLimits()
        limits.started(1, TimeLimits(hard: 5, soft: 2), now: 0)
        #expect(limits.expire(now: 60) == [.hard(1, limit: 5)])
    }

    @Test("0 is no limit, as in Celery")
    func zero() {
        #expect(TimeLimits(hard: 0, soft: 0).isNone)
        var limits = RunningLimits()
        limits.started(1, TimeLimits(hard: 0), now: 0)
        #expect(limits.due == nil)
    }
}

@Suite("The prefetch count")
struct PrefetchCountTests {
    @Test("rises with waiting messages up to the limit, and falls back to where it was")
    func limit() {
        let count = PrefetchCount(processes: 2, multiplier: 4, waitingLimit: 10)
        #expect(count.value(waiting: 0) == 8)
        #expect(count.value(waiting: 3) == 11)
        #expect(count.value(waiting: 20) == 18)
        // A stock worker is at 1 after this.
        #expect(count.value(waiting: 0) == 8)
    }

    @Test("no limit, and what doesn't fit, are 0")
    func unlimited() {
        #expect(PrefetchCount(processes: 4, multiplier: 0).value(waiting: 7) == 0)
        #expect(PrefetchCount(processes: 1, multiplier: 1).value(waiting: 65_534) == 65_535)
        #expect(PrefetchCount(processes: 1, multiplier: 1).value(waiting: 65_535) == 0)
        #expect(PrefetchCount(processes: .max, multiplier: 4).value(waiting: 0) == 0)
    }

    @Test("no processes count as one")
    func none() { #expect(PrefetchCount(processes: 0, multiplier: 4).value(waiting: 0) == 4) }
}
