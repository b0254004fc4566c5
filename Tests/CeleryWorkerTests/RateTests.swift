import Testing

@testable import CeleryWorker

@Suite("Rate limits")
struct RateLimitTests {
    @Test(
        "as projects write them, in tasks a second",
        arguments: [
            ("10", 10.0), ("10/s", 10), ("120/m", 2), ("7200/h", 2), ("0.5/s", 0.5), ("10/", 10),
        ] as [(String, Double)]
    )
    func reads(text: String, perSecond: Double) throws { #expect(try RateLimit(text)?.perSecond == perSecond) }

    @Test("no limit", arguments: [nil, "", "0", "0/m", "None"] as [String?])
    func none(text: String?) throws { #expect(try RateLimit(text) == nil) }

    @Test(
        "what is no rate is refused, and told apart",
        arguments: [("abc", false), ("/s", false), ("10/d", true), ("nan", false)]
    )
    func refuses(text: String, isNumber: Bool) {
        #expect(throws: RateLimitError(text: text, isNumber: isNumber)) { try RateLimit(text) }
    }
}

@Suite("Tasks that wait for their rate")
struct RateLimiterTests {
    private func limiter(_ rate: String, now: Double = 0) throws -> RateLimiter {
        var limiter = RateLimiter()
        #expect(limiter.limit("t", to: try RateLimit(rate), now: now).isEmpty)
        return limiter
    }

    @Test("the first goes at once, the others one by one, first come first served")
    func steady() throws {
        var limiter = try self.limiter("2/s")
        for id in 1...3 as ClosedRange<Job.ID> { limiter.hold(id, task: "t") }
        #expect(limiter.take(now: 0) == [1])
        #expect(limiter.due(now: 0) == 0.5)
        #expect(limiter.take(now: 0.4).isEmpty)
        #expect(limiter.take(now: 0.5) == [2])
        #expect(limiter.take(now: 1) == [3])
        #expect(limiter.due(now: 1) == nil)
    }

    @Test("an idle hour saves up one task, not more")
    func capacity() throws {
        var limiter = try self.limiter("1/s")
        for id in 1...3 as ClosedRange<Job.ID> { limiter.hold(id, task: "t") }
        #expect(limiter.take(now: 3600) == [1])
        #expect(limiter.due(now: 3600) == 3601)
    }

    @Test("a rate that is taken away lets all go; a new one counts at once")
    func change() throws {
        var limiter = try self.limiter("1/h")
        for id in 1...3 as ClosedRange<Job.ID> { limiter.hold(id, task: "t") }
        #expect(limiter.take(now: 0) == [1])
        #expect(limiter.limit("t", to: try RateLimit("10/s"), now: 0).isEmpty)
        #expect(limiter.take(now: 0.1) == [2])
        #expect(limiter.limit("t", to: nil, now: 0.1) == [3])
        #expect(!limiter.isLimited("t"))
    }

    @Test("kinds of tasks don't wait for each other")
    func kinds() throws {
        var limiter = try self.limiter("1/h")
        #expect(limiter.limit("u", to: try RateLimit("1/s"), now: 0).isEmpty)
        limiter.hold(1, task: "t")
        limiter.hold(2, task: "t")
        limiter.hold(3, task: "u")
        #expect(Set(limiter.take(now: 0)) == [1, 3])
        limiter.hold(4, task: "u")
        #expect(limiter.take(now: 1) == [4])
    }

    @Test("the prefetch count rises only by what is run within ten minutes, and by a thousand at most")
    func allowance() throws {
        var limiter = try self.limiter("1/m")
        for id in 1...100 as ClosedRange<Job.ID> { limiter.hold(id, task: "t") }
        #expect(limiter.prefetchAllowance == 10)
        #expect(limiter.limit("t", to: try RateLimit("100/s"), now: 0).isEmpty)
        #expect(limiter.prefetchAllowance == 100)
        for id in 101...5000 as ClosedRange<Job.ID> { limiter.hold(id, task: "t") }
        #expect(limiter.prefetchAllowance == 1000)
        limiter.removeAll { $0 > 5 }
        #expect(limiter.prefetchAllowance == 5)
    }
}

@Suite("Autoscaling")
struct AutoscalerTests {
    private func scaler(_ minimum: Int, _ maximum: Int) -> Autoscaler {
        Autoscaler(bounds: AutoscaleBounds(minimum: minimum, maximum: maximum), keepAlive: 30)
    }

    @Test("grows at once, up to the most")
    func grows() {
        var scaler = self.scaler(1, 4)
        #expect(scaler.scale(jobs: 3, processes: 1, now: 0) == .grow(2))
        #expect(scaler.scale(jobs: 9, processes: 3, now: 0) == .grow(1))
        #expect(scaler.scale(jobs: 9, processes: 4, now: 0) == nil)
    }

    @Test("shrinks only when no more was needed for a while, down to the least")
    func shrinks() {
        var scaler = self.scaler(1, 4)
        #expect(scaler.scale(jobs: 4, processes: 1, now: 0) == .grow(3))
        #expect(scaler.scale(jobs: 2, processes: 4, now: 30) == nil)
        #expect(scaler.scale(jobs: 2, processes: 4, now: 31) == .shrink(2))
        #expect(scaler.scale(jobs: 0, processes: 2, now: 32) == .shrink(1))
        #expect(scaler.scale(jobs: 0, processes: 1, now: 99) == nil)
    }

    @Test("new bounds count at once")
    func update() {
        var scaler = self.scaler(1, 4)
        #expect(scaler.update(maximum: 2, minimum: nil, processes: 4) == [.shrink(2)])
        #expect(scaler.update(maximum: 8, minimum: 3, processes: 2) == [.grow(1)])
        #expect(scaler.bounds == AutoscaleBounds(minimum: 3, maximum: 8))
    }
}
