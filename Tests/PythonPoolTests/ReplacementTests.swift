import Glibc
import NIOCore
import Spawning
import Testing

@testable import PythonPool

@Suite("The pool when workers are to end", .timeLimit(.minutes(3)), .serialized)
struct ReplacementTests {
    private static let code =
        PoolTests.code + """

            import signal, subprocess

            @app.task(name="ignoring")
            def ignoring():
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                print("ignoring")
                time.sleep(600)

            @app.task(name="browse")
            def browse():
                os.setpgid(0, 0)
                child = subprocess.Popen([sys.executable, "-c", "import signal, time\\n"
                                          "signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n"
                                          "print('browser', flush=True)\\n"
                                          "time.sleep(600)"])
                print("child", child.pid)
                time.sleep(600)

            @app.task(name="pid")
            def pid():
                return os.getpid()
            """

    private func exits(_ harness: Harness, _ job: UInt64) -> [WorkerExit] {
        harness.recorder.events.compactMap { if case .lost(job, let exit) = $0 { exit } else { nil } }
    }

    @Test("A terminated job is lost once, by the signal that it was sent; the next jobs go to a new worker")
    func termination() async throws {
        try await Harness.run { harness in
            try await harness.start(Self.code)
            await harness.submit(1, "spin")
            await harness.submit(2, "add", arguments: "[1, 1]")
            try await harness.recorder.until("the task's line") { $0.contains { $0.line?.text == "spinning" } }
            #expect(await harness.pool.terminate(job: 2) == false)
            #expect(await harness.pool.terminate(job: 1, signal: SIGTERM, grace: .seconds(60)))
            #expect(try await harness.recorder.finished(2) == .success(result: "2"))
            // Celery's handler leaves by way of sys.exit.
            #expect(exits(harness, 1).map(\.exit) == [.code(15)])
            #expect(exits(harness, 1).map(\.cause) == [.terminated])
            #expect(Set(harness.recorder.events.compactMap(\.readyPid)).count == 2)
        }
    }

    @Test("A job that ignores SIGTERM is killed after the grace")
    func escalation() async throws {
        try await Harness.run { harness in
            try await harness.start(Self.code)
            await harness.submit(1, "ignoring")
            try await harness.recorder.until("the task's line") { $0.contains { $0.line?.text == "ignoring" } }
            #expect(await harness.pool.terminate(job: 1))
            try await harness.recorder.until("the loss") { $0.contains { $0.ends == 1 } }
            #expect(exits(harness, 1).map(\.exit) == [.signal(9)])
            #expect(exits(harness, 1).map(\.cause) == [.terminated])
        }
    }

    @Test("What a job has started in a process group of its worker's own ends with it")
    func group() async throws {
        try await Harness.run { harness in
            try await harness.start(Self.code)
            await harness.submit(1, "browse")
            try await harness.recorder.until("the child's line") { events in
                events.contains { $0.line?.text == "browser" }
                    && events.contains { $0.line?.text.hasPrefix("child ") ?? false }
            }
            let line = harness.recorder.events.compactMap(\.line).first { $0.text.hasPrefix("child ") }
            let child = try #require(line.flatMap { Int32($0.text.dropFirst(6)) })
            #expect(isAlive(child))
            #expect(await harness.pool.terminate(job: 1))
            try await harness.recorder.until("the loss") { $0.contains { $0.ends == 1 } }
            #expect(await ends(child))
        }
    }

    @Test("A restart loses no job, and replaces busy workers after theirs")
    func restart() async throws {
        let path = temporaryPath()
        defer { unlink(path) }
        try await Harness.run { harness in
            try await harness.start(Self.code, workers: 2)
            await harness.submit(1, "wait", arguments: "[\"\(path)\"]", flags: .reportsStart)
            try await harness.recorder.until("the start") {
                $0.contains { if case .started(1, _) = $0 { true } else { false } }
            }
            let old = Set(harness.recorder.events.compactMap(\.readyPid))
            let manifest = try await harness.pool.restart(ByteBuffer(string: "{}"))
            #expect(String(buffer: manifest).contains("\"noop\""))
            await harness.submit(2, "pid")
            guard case .success(let pid) = try await harness.recorder.finished(2) else {
                Issue.record("no success")
                return
            }
            #expect(!old.contains(try #require(Int32(pid))))
            #expect(await harness.pool.workers.count { $0.currentJob != nil } == 1)
            close(creat(path, 0o600))
            #expect(try await harness.recorder.finished(1) == .success(result: "None"))
            try await harness.recorder.until("the replacement of both") { $0.count { $0.readyPid != nil } == 4 }
            #expect(harness.recorder.events.compactMap(\.workerExit).map(\.cause) == [.retired, .retired])
        }
    }

    @Test("A restart imports modules, and again when it is to reload them")
    func reload() async throws {
        let directory = temporaryPath()
        mkdir(directory, 0o700)
        let file = "\(directory)/reloaded_tasks.py"
        defer {
            unlink(file)
            _ = rmdir(directory)
        }
        @Sendable func write(_ result: String) throws {
            let text = """
                from celery import shared_task

                @shared_task(name="versioned", max_retries=\(result))
                def versioned():
                    return \(result)
                """
            let stream = try #require(fopen(file, "w"))
            fputs(text, stream)
            fclose(stream)
        }
        let code = "import sys\nsys.dont_write_bytecode = True\nsys.path.insert(0, \"\(directory)\")\n" + Self.code
        try await Harness.run { harness in
            try await harness.start(code)
            func restart(_ request: String) async throws -> String {
                String(buffer: try await harness.pool.restart(ByteBuffer(string: request)))
            }
            try write("1")
            let first = try await restart("{\"modules\": [\"reloaded_tasks\"]}")
            #expect(first.contains("\"versioned\"") && first.contains("\"max_retries\": 1,"))
            await harness.submit(1, "versioned")
            #expect(try await harness.recorder.finished(1) == .success(result: "1"))
            try write("22")
            let second = try await restart("{\"modules\": [\"reloaded_tasks\"], \"reload\": true}")
            #expect(second.contains("\"max_retries\": 22,"))
            await harness.submit(2, "versioned")
            #expect(try await harness.recorder.finished(2) == .success(result: "22"))
            // What can't be imported leaves all as it was.
            try write("(")
            let workers = harness.recorder.events.count { $0.readyPid != nil }
            await #expect(throws: LoadFailure.self) {
                try await restart("{\"modules\": [\"reloaded_tasks\"], \"reload\": true}")
            }
            await harness.submit(3, "versioned")
            #expect(try await harness.recorder.finished(3) == .success(result: "22"))
            #expect(harness.recorder.events.count { $0.readyPid != nil } == workers)
        }
    }

    @Test("The pool grows and shrinks, but ends no busy worker")
    func size() async throws {
        let path = temporaryPath()
        defer { unlink(path) }
        try await Harness.run { harness in
            try await harness.start(Self.code)
            await harness.pool.grow(by: 2)
            try await harness.recorder.until("three workers") { $0.count { $0.readyPid != nil } == 3 }
            #expect(await harness.pool.workers.map(\.state) == [.idle, .idle, .idle])
            await harness.submit(1, "wait", arguments: "[\"\(path)\"]")
            #expect(await harness.pool.workers.count { $0.currentJob != nil } == 1)
            try await harness.pool.shrink(by: 2)
            await #expect(throws: PoolError.self) { try await harness.pool.shrink(by: 1) }
            #expect(await harness.pool.size == 1)
            try await harness.recorder.until("the ends of two") { $0.count { $0.workerExit != nil } == 2 }
            close(creat(path, 0o600))
            #expect(try await harness.recorder.finished(1) == .success(result: "None"))
            #expect(await harness.pool.workers.map(\.state) == [.idle])
        }
    }

    @Test(
        "Workers are replaced at their limit of tasks or memory, and no job is lost",
        arguments: [
            ("{\"max_tasks_per_child\": 2}", "", 2), ("{\"max_memory_per_child\": 1}", "", 1),
            ("{}", "app.conf.worker_max_tasks_per_child = 1", 1), ("{}", "app.conf.worker_max_memory_per_child = 1", 1),
        ]
    )
    func limits(options: String, setting: String, tasks: Int) async throws {
        try await Harness.run { harness in
            try await harness.start(Self.code + "\n" + setting, options: options)
            // More than one worker takes, so that some are in the socket of one that leaves.
            for id in 1...7 as ClosedRange<UInt64> { await harness.submit(id, "pid") }
            var pids: [String] = []
            for id in 1...7 as ClosedRange<UInt64> {
                guard case .success(let pid) = try await harness.recorder.finished(id) else { continue }
                pids.append(pid)
            }
            #expect(pids.count == 7)
            for pid in Set(pids) { #expect(pids.count { $0 == pid } <= tasks) }
            let exits = harness.recorder.events.compactMap(\.workerExit)
            #expect(exits.count >= 7 / tasks - 1)
            #expect(exits.allSatisfy { $0.exit == .code(155) && $0.cause == .recycled })
        }
    }

    @Test("While a worker that has reached its limit leaves slowly, jobs go to the others")
    func slowLeave() async throws {
        let path = temporaryPath()
        defer { unlink(path) }
        let code =
            Self.code + """

                @worker_process_shutdown.connect
                def slow(exitcode, **kwargs):
                    while exitcode == 155 and not os.path.exists("\(path)"):
                        time.sleep(0.005)
                """
        // Else what it doesn't read would go to another after a while.
        try await Harness.run(configure: { $0.readDeadline = .seconds(600) }) { harness in
            try await harness.start(code, workers: 2, options: "{\"max_tasks_per_child\": 3}")
            // One worker gets three jobs, the other one and those that follow.
            for id in 1...3 as ClosedRange<UInt64> {
                await harness.submit(id, "noop")
                _ = try await harness.recorder.finished(id)
            }
            for id in 4...5 as ClosedRange<UInt64> {
                await harness.submit(id, "noop")
                _ = try await harness.recorder.finished(id)
            }
            #expect(harness.recorder.events.compactMap(\.workerExit).isEmpty)
            #expect(await harness.pool.workers.map(\.state).contains(.stopping))
            close(creat(path, 0o600))
        }
    }
}
