import Glibc
import NIOCore
import Spawning
import Testing

@testable import PythonPool

@Suite("The pool with real Python", .timeLimit(.minutes(3)))
struct PoolTests {
    static let code = """
        import os, sys, time, logging
        from celery.exceptions import Ignore, Reject
        from celery.signals import worker_process_init, worker_process_shutdown

        @worker_process_init.connect
        def init(**kwargs):
            print("init", kwargs["sender"])

        @worker_process_shutdown.connect
        def shutdown(pid, exitcode, **kwargs):
            print("shutdown", pid == os.getpid(), exitcode)

        @app.task(name="noop", acks_late=True)
        def noop(*args):
            pass

        @app.task(name="add")
        def add(a, b):
            return a + b

        @app.task(name="size")
        def size(text):
            return len(text)

        @app.task(name="fail")
        def fail():
            raise ValueError("no \\u00e9")

        @app.task(name="again", bind=True)
        def again(self):
            raise self.retry(exc=KeyError("later"), countdown=5)

        @app.task(name="reject")
        def reject(requeue):
            raise Reject("bad", requeue=requeue)

        @app.task(name="ignore")
        def ignore():
            raise Ignore()

        @app.task(name="memory")
        def memory():
            raise MemoryError("full")

        @app.task(name="leave")
        def leave():
            sys.exit(3)

        @app.task(name="die")
        def die():
            os.kill(os.getpid(), 9)

        @app.task(name="sleep")
        def sleep(seconds):
            time.sleep(seconds)

        @app.task(name="spin")
        def spin():
            print("spinning")
            while True:
                pass

        @app.task(name="wait")
        def wait(path):
            while not os.path.exists(path):
                time.sleep(0.005)

        @app.task(name="say")
        def say(word):
            print(word)
            print("half " + word, end="")
            sys.stderr.write("err " + word + chr(10))
            os.system("echo sub " + word)
            logging.getLogger("mine").error("logged %s", word)
            assert sys.stdout.fileno() == 1
            sys.stdout.buffer.write(b"bytes ")
        """

    @Test("It is told how long a job waited for its worker, start reported or not", arguments: [true, false])
    func waiting(reportsStart: Bool) async throws {
        let path = temporaryPath()
        defer { unlink(path) }
        try await Harness.run { harness in
            try await harness.start(Self.code)
            let flags: PoolJob.Flags = reportsStart ? .reportsStart : []
            await harness.submit(1, "wait", arguments: "[\"\(path)\"]", flags: .reportsStart)
            try await harness.recorder.until("the start") {
                $0.contains { if case .started(1, _) = $0 { true } else { false } }
            }
            let begun = System.now
            await harness.submit(2, "add", arguments: "[1, 1]", flags: flags)
            let submitted = System.now
            close(creat(path, 0o600))
            let opened = System.now
            _ = try await harness.recorder.finished(2)
            let waits = harness.recorder.events.compactMap { event -> Double? in
                if case .finished(2, _, _, _, let waited) = event { waited } else { nil }
            }
            #expect(waits.count == 1)
            #expect(waits[0] >= Double(opened - submitted) / 1e9)
            #expect(waits[0] <= Double(System.now - begun) / 1e9)
        }
    }

    @Test("A job is run by Celery's tracer")
    func success() async throws {
        try await Harness.run { harness in
            try await harness.start(Self.code)
            await harness.submit(1, "add", arguments: "[1, 2]", flags: .reportsStart)
            #expect(try await harness.recorder.finished(1) == .success(result: "3"))
            let started = harness.recorder.events.contains {
                if case .started(1, _) = $0 { true } else { false }
            }
            #expect(started)
        }
    }

    @Test("Each way to end a task becomes its outcome")
    func outcomes() async throws {
        try await Harness.run { harness in
            try await harness.start(Self.code)
            let recorder = harness.recorder
            await harness.submit(1, "fail")
            guard case .failure(let failure, stored: true) = try await recorder.finished(1) else {
                Issue.record("not a failure")
                return
            }
            #expect(failure.representation == "ValueError('no é')")
            #expect(failure.type == "ValueError")
            #expect(failure.traceback.contains("raise ValueError(\"no"))

            await harness.submit(2, "again")
            guard case .retry(let reason) = try await recorder.finished(2) else {
                Issue.record("not a retry")
                return
            }
            #expect(reason.representation == "KeyError('later')")
            #expect(!reason.when.isEmpty)

            await harness.submit(3, "reject", arguments: "[true]")
            await harness.submit(4, "reject", arguments: "[false]")
            await harness.submit(5, "ignore")
            await harness.submit(6, "nosuch")
            await harness.submit(7, "add", arguments: "[1]")
            await harness.submit(8, "add", arguments: "{broken")
            await harness.submit(9, "add", contentType: "application/x-python-serialize")
            await harness.submit(10, "memory")
            guard case .reject(requeue: true, _) = try await recorder.finished(3) else {
                Issue.record("not rejected to be queued again")
                return
            }
            guard case .reject(requeue: false, _) = try await recorder.finished(4) else {
                Issue.record("not rejected")
                return
            }
            #expect(try await recorder.finished(5) == .ignore)
            for (job, type, stored) in [
                (6, "NotRegistered", false), (7, "TypeError", true), (10, "MemoryError", true),
            ] as [(UInt64, String, Bool)] {
                guard case .failure(let failure, let isStored) = try await recorder.finished(job) else {
                    Issue.record("job \(job) didn't fail")
                    continue
                }
                #expect(failure.type == type, "job \(job)")
                #expect(isStored == stored, "job \(job)")
            }
            for (job, type) in [(8, "DecodeError"), (9, "ContentDisallowed")] as [(UInt64, String)] {
                guard case .undecodable(let reason) = try await recorder.finished(job) else {
                    Issue.record("job \(job) was decoded")
                    continue
                }
                #expect(reason.hasPrefix(type), "job \(job)")
            }
            for (job, body) in [(11, "null"), (12, "[1, 2]"), (13, "{}"), (14, "7")] as [(UInt64, String)] {
                await harness.submit(job, "add", body: body)
                guard case .malformed = try await recorder.finished(job) else {
                    Issue.record("job \(job) was taken for a task")
                    continue
                }
            }
        }
    }

    @Test("Output is told line by line with the job that wrote it, before its result")
    func output() async throws {
        try await Harness.run { harness in
            try await harness.start(Self.code)
            await harness.submit(1, "say", arguments: "[\"one\"]")
            await harness.submit(2, "say", arguments: "[\"two\"]")
            _ = try await harness.recorder.finished(2)
            try await harness.recorder.until("the lines of the pipes") { events in
                texts(events).contains { $0.hasSuffix("sub one") } && texts(events).contains { $0.hasSuffix("sub two") }
            }
            checkOutput(of: 1, "one", in: harness.recorder.events)
            checkOutput(of: 2, "two", in: harness.recorder.events)
        }
    }

    @Test("Workers fire the process signals and are named as Celery names them")
    func processSignals() async throws {
        let code =
            Self.code + """

                @app.task(name="name")
                def name():
                    import billiard.process, multiprocessing, os
                    from celery.signals import worker_process_init
                    return [billiard.process.current_process()._name, multiprocessing.current_process().name,
                            os.getsid(0) != os.getsid(1), "PYTHONPATH" in os.environ, __name__]
                """
        let lines = LineBox()
        try await Harness.run { harness in
            try await harness.start(code)
            await harness.submit(1, "name")
            let expected = "['ForkPoolWorker-1', 'ForkPoolWorker-1', True, False, 'builtins']"
            #expect(try await harness.recorder.finished(1) == .success(result: expected))
            await harness.pool.shutdown(deadline: .seconds(10))
            await lines.set(texts(harness.recorder.events))
            let exits = harness.recorder.events.compactMap(\.workerExit)
            #expect(exits.map(\.exit) == [.code(0)])
            #expect(exits.map(\.expected) == [true])
        }
        #expect(await lines.value.contains("init None"))
        #expect(await lines.value.contains("shutdown True 0"))
    }

    @Test("A body of 5 MiB and large headers arrive whole")
    func largeBody() async throws {
        try await Harness.run { harness in
            try await harness.start(Self.code)
            let count = 5 << 20
            let text = String(repeating: "x", count: count)
            await harness.submit(1, "size", arguments: "[\"\(text)\"]")
            await harness.submit(2, "add", arguments: "[1, 1]")
            #expect(try await harness.recorder.finished(1) == .success(result: "\(count)"))
            #expect(try await harness.recorder.finished(2) == .success(result: "2"))
        }
    }

    @Test(
        "Code that can't be loaded says why, with the user's own lines",
        arguments: [
            ("x = (", "syntax_error", "line 1"),
            ("import nosuchmodule_x", "import_error", "nosuchmodule_x"),
            ("\n\nraise RuntimeError('boom')", "exception", "line 3"),
            ("import sys\nsys.exit(4)", "system_exit", "sys.exit(4)"),
        ]
    )
    func loadErrors(code: String, kind: String, text: String) async throws {
        try await Harness.run { harness in
            do {
                try await harness.load(code)
                Issue.record("it was loaded")
            } catch let failure as LoadFailure {
                #expect(failure.kind == kind)
                #expect(failure.traceback.contains(text) || failure.message.contains(text))
                #expect(!failure.traceback.contains("armada_agent"))
                #expect(failure.traceback.contains("<agent code>"))
            }
        }
    }

    @Test("The manifest describes tasks, queues and settings")
    func manifest() async throws {
        try await Harness.run { harness in
            let manifest = try await harness.load(Self.code)
            for part in [
                "\"name\": \"run\"", "\"noop\": {\"acks_late\": true", "\"worker_prefetch_multiplier\": 4",
                "\"accept_content\": [\"application/json\"]", "\"app\": \"celery_app\"",
            ] {
                #expect(manifest.contains(part), "\(part) in \(manifest)")
            }
        }
    }

    @Test("Calls are answered; parent-side signals reach their receivers")
    func calls() async throws {
        let code =
            Self.code + """

                from celery.signals import worker_ready, task_revoked

                @worker_ready.connect
                def ready(sender, **kwargs):
                    print("ready", sender.hostname)

                @task_revoked.connect
                def revoked(sender, request, terminated, signum, expired, **kwargs):
                    print("revoked", sender.name, request.id, expired)
                """
        try await Harness.run { harness in
            try await harness.load(code)
            func call(_ method: String, _ arguments: String) async throws -> String {
                String(
                    buffer: try await harness.pool.call(method, ByteBuffer(string: arguments), deadline: .seconds(30))
                )
            }
            #expect(try await call("ping", "{}") == "\"pong\"")
            #expect(try await call("signal", "{\"name\": \"worker_ready\"}") == "1")
            let fields = "{\"headers\": {\"id\": \"i\", \"task\": \"noop\"}, \"expired\": true}"
            #expect(try await call("signal", "{\"name\": \"task_revoked\", \"fields\": \(fields)}") == "1")
            try await harness.recorder.until("the receivers' lines") { events in
                Set(texts(events)).isSuperset(of: ["ready worker0@host", "revoked noop i True"])
            }
            let failed = "{\"headers\": {\"id\": \"i\", \"task\": \"noop\"}, \"exception_type\": \"WorkerLostError\"}"
            #expect(try await call("backend.mark_as_failure", failed) == "null")
            let body = "W1sxLCAyXSwgeyJhIjogM30sIHt9XQ=="
            let decoded = try await call(
                "decode_body",
                "{\"body\": \"\(body)\", \"content_type\": \"application/json\", \"content_encoding\": \"utf-8\"}"
            )
            #expect(decoded == "[[1, 2], {\"a\": 3}, {}]")
            await #expect(throws: PoolError.self) { try await call("nosuch", "{}") }
        }
    }
}

actor LineBox {
    var value: [String] = []

    func set(_ lines: [String]) { value = lines }
}

private func texts(_ events: [PoolEvent]) -> [String] {
    events.compactMap { $0.line?.text }
}

private func checkOutput(of job: UInt64, _ word: String, in events: [PoolEvent]) {
    let mine = events.compactMap(\.line).filter { $0.job == job }
    #expect(mine.contains { $0.text == word && $0.stream == .standardOutput })
    #expect(mine.contains { $0.text == "half " + word })
    #expect(mine.contains { $0.text == "err " + word && $0.stream == .standardError })
    #expect(mine.contains { $0.text.contains("logged " + word) && $0.stream == .log(level: 40) })
    let end = events.firstIndex { $0.ends == job } ?? -1
    let half = events.firstIndex { $0.line?.text == "half " + word } ?? .max
    #expect(half < end)
}
