import Testing

@testable import CeleryWorker

@Suite("Health and statistics")
struct HealthTests {
    private static func health(
        _ phase: Worker.Phase,
        project: Bool = true,
        connected: Bool = true,
        missing: [String] = []
    ) -> WorkerHealth {
        WorkerHealth(
            nodeName: "w@h",
            phase: phase,
            hasProject: project,
            isConnected: connected,
            queues: ["q"],
            missingQueues: missing
        )
    }

    @Test func `a worker that consumes all its queues is ready`() {
        #expect(Self.health(.running).obstacles == [])
        #expect(Self.health(.running).isReady)
        #expect(Self.health(.running).hasStarted)
    }

    @Test func `a worker that starts says what it waits for`() {
        let health = Self.health(.starting, project: false, connected: false)
        #expect(health.obstacles == ["the project is not loaded", "there is no session with the broker"])
        #expect(!health.hasStarted)
        #expect(Self.health(.starting).obstacles == ["the worker is starting"])
    }

    @Test func `without a broker, or without a consumer, a worker is not ready`() {
        #expect(Self.health(.running, connected: false).obstacles == ["there is no session with the broker"])
        #expect(Self.health(.running, missing: ["b"]).obstacles == ["the queue 'b' is not consumed"])
        #expect(Self.health(.running, connected: false).hasStarted)
    }

    @Test(arguments: [Worker.Phase.draining, .softening, .stopping]) func `a worker that stops is not ready`(
        phase: Worker.Phase
    ) {
        #expect(Self.health(phase).obstacles.count == 1)
        #expect(Self.health(phase).hasStarted)
    }

    @Test func `each ending of a task is counted under its state`() {
        var statistics = Statistics()
        statistics.ended("t", .succeeded, runtime: 0.2)
        statistics.ended("t", .failed, runtime: 3)
        statistics.ended("t", .workerLost)
        statistics.ended("t", .timedOut)
        statistics.ended("t", .retried)
        statistics.ended("t", .ignored)
        statistics.ended("t", .rejected(requeue: true))
        statistics.revoked("t", whileItRan: true)
        let task = statistics.tasks["t"] ?? TaskStatistics()
        #expect(TaskStatistics.State.allCases.map { task[$0] } == [1, 3, 1, 1, 1, 1, 0])
        #expect(task.runtime.count == 2)
        #expect(statistics.total == ["t": 8])
        #expect(statistics.processed == 8)
    }

    @Test func `what never began is no processed task`() {
        var statistics = Statistics()
        statistics.revoked("t", whileItRan: false)
        statistics.ended("u", .undecodable)
        statistics.ended("u", .malformed)
        #expect(statistics.tasks["t"]?[.revoked] == 1)
        #expect(statistics.total == [:])
        #expect(statistics.processed == 0)
    }

    @Test func `a value on a bound is below it`() {
        var histogram = Histogram()
        histogram.observe(0.005)
        histogram.observe(0.0051)
        histogram.observe(1e9)
        #expect(histogram.counts == [1, 1] + [Int](repeating: 0, count: Histogram.bounds.count - 2) + [1])
        #expect(histogram.sum == 1e9 + 0.0101)
    }
}
