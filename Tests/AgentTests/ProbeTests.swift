import AgentModules
import CeleryWorker
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import PythonPool
import Testing

@testable import Agent

@Suite("Probes and metrics")
struct ProbeTests {
    private static func source(
        phase: Worker.Phase = .running,
        connected: Bool = true,
        metrics: WorkerMetrics = WorkerMetrics(nodeName: "w@h", startedAt: 5)
    ) -> ProbeAnswer.Source {
        ProbeAnswer.Source(
            health: {
                WorkerHealth(
                    nodeName: "w@h",
                    phase: phase,
                    hasProject: true,
                    isConnected: connected,
                    queues: connected ? ["q"] : []
                )
            },
            metrics: { metrics }
        )
    }

    private static func answer(_ target: String, from source: ProbeAnswer.Source) -> (status: UInt, body: String) {
        let answer = ProbeAnswer(method: .GET, target: target, from: source)
        return (answer.status.code, String(buffer: answer.body))
    }

    @Test("a working agent passes every probe", arguments: ["/livez", "/readyz", "/startupz", "/readyz?verbose"])
    func working(target: String) {
        let answer = Self.answer(target, from: Self.source())
        #expect(answer.status == 200)
        #expect(
            answer.body == """
                {"ok": true, "reasons": [], "node": "w@h", "phase": "running", "connected": true, "queues": ["q"]}

                """
        )
    }

    @Test("a draining agent is alive and not ready")
    func draining() {
        let source = Self.source(phase: .draining)
        #expect(Self.answer("/livez", from: source).status == 200)
        #expect(Self.answer("/startupz", from: source).status == 200)
        let ready = Self.answer("/readyz", from: source)
        #expect(ready.status == 503)
        #expect(ready.body.contains(#""ok": false, "reasons": ["shutting down"#))
    }

    @Test("an agent without its broker is alive, has started, and is not ready")
    func disconnected() {
        let source = Self.source(connected: false)
        #expect(Self.answer("/livez", from: source).status == 200)
        #expect(Self.answer("/startupz", from: source).status == 200)
        #expect(Self.answer("/readyz", from: source).status == 503)
    }

    @Test("an agent that has not consumed yet has not started")
    func starting() {
        let source = Self.source(phase: .starting, connected: false)
        #expect(Self.answer("/livez", from: source).status == 200)
        #expect(Self.answer("/startupz", from: source).status == 503)
        #expect(Self.answer("/readyz", from: source).status == 503)
    }

    @Test("other paths and methods are refused")
    func refused() {
        #expect(Self.answer("/", from: Self.source()).status == 404)
        let post = ProbeAnswer(method: .POST, target: "/livez", from: Self.source())
        #expect(post.status == .methodNotAllowed)
    }

    // MARK: Metrics

    @Test("metrics are in Prometheus's text format")
    func metrics() {
        var metrics = WorkerMetrics(nodeName: "w@h", startedAt: 5)
        metrics.celeryVersion = "5.6.3"
        var task = TaskStatistics()
        task.add(.succeeded, runtime: 0.25)
        task.add(.succeeded, runtime: 2000)
        task.add(.failed)
        metrics.tasks = ["a.\"b\"\\": task]
        metrics.received = 3
        metrics.setAside = 2
        metrics.waits.observe(0.02)
        metrics.waits.observe(7)
        metrics.running = 1
        metrics.isConsuming = true
        metrics.pythonWorkers = [.busy: 2]
        let text = MetricsText(
            metrics,
            outbox: OutboxCounts(waiting: 4, delivered: 5, refused: 6),
            ProcessMetrics(residentBytes: 4096, processorSeconds: 1.5)
        )
        let lines = String(buffer: text.buffer).split(separator: "\n").map(String.init)
        let expected = [
            "# HELP armada_agent_tasks_total Tasks that have ended, by what became of them.",
            "# TYPE armada_agent_tasks_total counter",
            #"armada_agent_tasks_total{task="a.\"b\"\\",state="succeeded"} 2"#,
            #"armada_agent_tasks_total{task="a.\"b\"\\",state="failed"} 1"#,
            "# TYPE armada_agent_task_runtime_seconds histogram",
            #"armada_agent_task_runtime_seconds_bucket{task="a.\"b\"\\",le="0.1"} 0"#,
            #"armada_agent_task_runtime_seconds_bucket{task="a.\"b\"\\",le="0.5"} 1"#,
            #"armada_agent_task_runtime_seconds_bucket{task="a.\"b\"\\",le="1800.0"} 1"#,
            #"armada_agent_task_runtime_seconds_bucket{task="a.\"b\"\\",le="+Inf"} 2"#,
            #"armada_agent_task_runtime_seconds_sum{task="a.\"b\"\\"} 2000.25"#,
            #"armada_agent_task_runtime_seconds_count{task="a.\"b\"\\"} 2"#,
            "# TYPE armada_agent_job_wait_seconds histogram",
            #"armada_agent_job_wait_seconds_bucket{le="0.005"} 0"#,
            #"armada_agent_job_wait_seconds_bucket{le="0.025"} 1"#,
            #"armada_agent_job_wait_seconds_bucket{le="10.0"} 2"#,
            #"armada_agent_job_wait_seconds_bucket{le="+Inf"} 2"#,
            "armada_agent_job_wait_seconds_sum 7.02",
            "armada_agent_job_wait_seconds_count 2",
            "armada_agent_messages_received_total 3",
            "armada_agent_messages_set_aside_total 2",
            "armada_agent_outbox_waiting 4",
            "armada_agent_outbox_delivered_total 5",
            "armada_agent_outbox_refused_total 6",
            #"armada_agent_info{node="w@h",celery="5.6.3",python=""} 1"#,
            "armada_agent_consuming 1",
            #"armada_agent_jobs{state="running"} 1"#,
            #"armada_agent_python_workers{state="busy"} 2"#,
            #"armada_agent_python_workers{state="idle"} 0"#,
            "process_resident_memory_bytes 4096",
            "process_cpu_seconds_total 1.5",
            "process_start_time_seconds 5.0",
        ]
        #expect(expected.filter { !lines.contains($0) } == [])
        // A metric is described once, and all its samples follow.
        let described = lines.filter { $0.hasPrefix("# TYPE") }
        #expect(Set(described).count == described.count)
    }

    @Test("without an outbox there is nothing to tell of one")
    func noOutbox() {
        #expect(!Self.answer("/metrics", from: Self.source()).body.contains("outbox"))
    }

    @Test("this process's memory is known")
    func memory() {
        #expect(ProcessMetrics.current.residentBytes > 1 << 20)
    }

    // MARK: Over HTTP

    /// Runs `body` beside a server on a port of the system's choice.
    private static func serving(
        _ source: ProbeAnswer.Source,
        _ body: @escaping @Sendable (ProbeServer.Address) async throws -> Void
    ) async throws {
        let server = ProbeServer(
            ProbeServer.Address(host: "127.0.0.1", port: 0),
            from: source,
            on: MultiThreadedEventLoopGroup.singleton.next(),
            logger: RecordingSink().logger()
        )
        let (ports, continuation) = AsyncStream<Int>.makeStream()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run { continuation.yield($0?.port ?? 0) } }
            for await port in ports {
                try await body(ProbeServer.Address(host: "127.0.0.1", port: port))
                break
            }
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    @Test("a probe asks over HTTP what the agent answers")
    func probing() async throws {
        try await Self.serving(Self.source(phase: .draining)) { address in
            let live = Probe(.live, at: address, timeout: 5).run()
            #expect(live.isPassed)
            let ready = Probe(.ready, at: address, timeout: 5).run()
            #expect(!ready.isPassed)
            #expect(ready.text.contains("shutting down"))
            #expect(Probe(.startup, at: address, timeout: 5).run().isPassed)
        }
    }

    @Test("a client that sends no HTTP is dropped, and the next one is answered")
    func noise() async throws {
        try await Self.serving(Self.source()) { address in
            let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(host: address.host, port: address.port).get()
            try await client.writeAndFlush(ByteBuffer(string: "\u{16}\u{3}\u{1} no HTTP\r\n\r\n"))
            try await client.closeFuture.get()
            #expect(Probe(.ready, at: address, timeout: 5).run().isPassed)
        }
    }

    @Test("a port that is taken is a configuration error that names it")
    func taken() async throws {
        try await Self.serving(Self.source()) { address in
            let second = ProbeServer(
                address,
                from: Self.source(),
                on: MultiThreadedEventLoopGroup.singleton.next(),
                logger: RecordingSink().logger()
            )
            let error = await #expect(throws: ConfigurationErrors.self) { try await second.run() }
            #expect(error?.exitStatus == .configuration)
            #expect(error?.message.contains("AGENT_HTTP_PORT: found \(address.port)") == true)
            #expect(error?.message.contains("in use") == true)
        }
    }

    @Test("an address of another machine is a configuration error that names it")
    func elsewhere() async throws {
        // RFC 5737: an address of documentation.
        let server = ProbeServer(
            ProbeServer.Address(host: "192.0.2.1", port: 0),
            from: Self.source(),
            on: MultiThreadedEventLoopGroup.singleton.next(),
            logger: RecordingSink().logger()
        )
        let error = await #expect(throws: ConfigurationErrors.self) { try await server.run() }
        #expect(error?.message == "AGENT_HTTP_HOST: found \"192.0.2.1\", expected an address of this machine")
    }

    @Test("a probe without an agent fails")
    func nobody() throws {
        let (descriptor, port) = try listener(listens: false)
        defer { close(descriptor) }
        let result = Probe(.live, at: .init(host: "127.0.0.1", port: port), timeout: 5).run()
        #expect(!result.isPassed)
        #expect(result.text.hasPrefix("no agent answers"))
    }

    @Test("an answer that is not HTTP fails a probe", arguments: ["", "nonsense", "HTTP/1.1 x", "AMQP 200 OK"])
    func wrongAnswers(answer: String) {
        #expect(!Probe.result(of: answer).isPassed)
    }

    // MARK: Configuration

    @Test("probes are off until a port is set")
    func address() throws {
        #expect(try ProbeServer.Address(environment: ["AGENT_HTTP_HOST": "::1"]) == nil)
        #expect(try ProbeServer.Address(environment: ["AGENT_HTTP_PORT": "8080"])?.host == "0.0.0.0")
        #expect(throws: ConfigurationErrors.self) { try ProbeServer.Address(environment: ["AGENT_HTTP_PORT": "0"]) }
        #expect(throws: ConfigurationErrors.self) { try Probe(.live, environment: [:], timeout: 1) }
    }
}
