import Glibc
import NIOCore
import Spawning
import Testing

@testable import PythonPool

@Suite("The pool when processes die", .timeLimit(.minutes(3)), .serialized)
struct FaultTests {
    @Test("The job of a worker that dies is lost, those behind it are not, and the worker is replaced")
    func death() async throws {
        try await Harness.run { harness in
            try await harness.start(PoolTests.code)
            await harness.submit(1, "die")
            for id in 2...4 as ClosedRange<UInt64> { await harness.submit(id, "add", arguments: "[1, 1]") }
            for id in 2...4 as ClosedRange<UInt64> {
                #expect(try await harness.recorder.finished(id) == .success(result: "2"))
            }
            let lost = harness.recorder.events.compactMap { event -> WorkerExit? in
                if case .lost(1, let exit) = event { exit } else { nil }
            }
            #expect(lost.map(\.exit) == [.signal(9)])
            #expect(lost.map(\.expected) == [false])
            #expect(Set(harness.recorder.events.compactMap(\.readyPid)).count == 2)
        }
    }

    @Test("A job that calls sys.exit is lost with that status, after worker_process_shutdown")
    func exit() async throws {
        try await Harness.run { harness in
            try await harness.start(PoolTests.code)
            await harness.submit(1, "leave")
            try await harness.recorder.until("the loss") { $0.contains { $0.ends == 1 } }
            try await harness.recorder.until("the shutdown signal") {
                $0.contains { $0.line?.text == "shutdown True 3" }
            }
            try await harness.recorder.until("the exit") { $0.contains { $0.workerExit != nil } }
            let exits = harness.recorder.events.compactMap(\.workerExit)
            #expect(exits.first?.exit == .code(3))
        }
    }

    @Test("Every job ends once while a worker is killed again and again")
    func killing() async throws {
        try await Harness.run { harness in
            try await harness.start(PoolTests.code, workers: 2)
            let jobs: UInt64 = 400
            for id in 1...jobs { await harness.submit(id, "sleep", arguments: "[0.002]") }
            for round in 1...20 {
                try await harness.recorder.until("progress \(round)") {
                    $0.count { $0.ends != nil } >= round * 15 && $0.count { $0.readyPid != nil } > round
                }
                await harness.pool.kill(worker: 1 + round % 2, signal: SIGKILL)
            }
            try await harness.recorder.until("the end of all") { $0.count { $0.ends != nil } >= Int(jobs) }
            let ended = harness.recorder.events.compactMap(\.ends)
            #expect(ended.sorted() == Array(1...jobs))
            #expect(await harness.pool.machine.jobCount == 0)
        }
    }

    @Test("A job behind a long one goes to the worker that becomes idle")
    func fairness() async throws {
        let path = temporaryPath()
        defer { unlink(path) }
        try await Harness.run { harness in
            try await harness.start(PoolTests.code, workers: 2)
            await harness.submit(1, "wait", arguments: "[\"\(path)\"]", flags: .reportsStart)
            await harness.submit(2, "sleep", arguments: "[0.05]", flags: .reportsStart)
            for id in 3...8 as ClosedRange<UInt64> { await harness.submit(id, "add", arguments: "[1, 1]") }
            for id in 2...8 as ClosedRange<UInt64> { _ = try await harness.recorder.finished(id) }
            #expect(!harness.recorder.events.contains { $0.ends == 1 })
            close(creat(path, 0o600))
            _ = try await harness.recorder.finished(1)
        }
    }

    @Test("A job that no worker has begun can be withdrawn; one that runs can't")
    func withdraw() async throws {
        let path = temporaryPath()
        defer { unlink(path) }
        try await Harness.run { harness in
            try await harness.start(PoolTests.code)
            await harness.submit(1, "wait", arguments: "[\"\(path)\"]", flags: .reportsStart)
            try await harness.recorder.until("the start") {
                $0.contains { if case .started(1, _) = $0 { true } else { false } }
            }
            for id in 2...7 as ClosedRange<UInt64> { await harness.submit(id, "add", arguments: "[1, 1]") }
            #expect(await harness.pool.withdraw(1) == false)
            #expect(await harness.pool.withdraw(3) == true)
            #expect(await harness.pool.withdraw(3) == false)
            #expect(await harness.pool.withdraw(7) == true)
            #expect(await harness.pool.withdrawAll().sorted() == [2, 4, 5, 6])
            #expect(await harness.pool.machine.jobCount == 1)
            close(creat(path, 0o600))
            _ = try await harness.recorder.finished(1)
            #expect(harness.recorder.events.compactMap(\.ends) == [1])
        }
    }

    @Test("SIGUSR1 for a job raises SoftTimeLimitExceeded in it")
    func softLimit() async throws {
        try await Harness.run { harness in
            try await harness.start(PoolTests.code)
            await harness.submit(1, "spin", flags: .reportsStart)
            await harness.submit(2, "add", arguments: "[1, 1]")
            // Inside the task itself, where the tracer stores the failure.
            try await harness.recorder.until("the task's line") { $0.contains { $0.line?.text == "spinning" } }
            #expect(await harness.pool.kill(job: 1, signal: SIGUSR1))
            guard case .failure(let failure, stored: true) = try await harness.recorder.finished(1) else {
                Issue.record("no failure")
                return
            }
            #expect(failure.type == "SoftTimeLimitExceeded")
            #expect(try await harness.recorder.finished(2) == .success(result: "2"))
        }
    }

    @Test("When the main process is killed, all end, and the pool says so")
    func mainKilled() async throws {
        try await Harness.run { harness in
            try await harness.start(PoolTests.code, workers: 2)
            await harness.submit(1, "spin", flags: .reportsStart)
            try await harness.recorder.until("the start") {
                $0.contains { if case .started(1, _) = $0 { true } else { false } }
            }
            let pids = harness.recorder.events.compactMap(\.readyPid)
            Glibc.kill(await harness.pool.mainPid, SIGKILL)
            try await harness.recorder.until("the end of the main process") {
                $0.contains { if case .mainExited(.signal(9)) = $0 { true } else { false } }
            }
            #expect(harness.recorder.events.contains { $0.ends == 1 })
            for pid in pids { #expect(await ends(pid)) }
        }
    }

    @Test("A worker that is stopped is replaced, and the job that it was sent runs elsewhere, once")
    func stopped() async throws {
        try await Harness.run(configure: { $0.readDeadline = .milliseconds(200) }) { harness in
            try await harness.start(PoolTests.code)
            let stopped = try #require(harness.recorder.events.compactMap(\.readyPid).first)
            #expect(await stops(stopped))
            await harness.submit(1, "add", arguments: "[1, 1]", flags: .reportsStart)
            await harness.submit(2, "add", arguments: "[1, 2]")
            #expect(try await harness.recorder.finished(1) == .success(result: "2"))
            #expect(try await harness.recorder.finished(2) == .success(result: "3"))
            let starts = harness.recorder.events.count { if case .started(1, _) = $0 { true } else { false } }
            #expect(starts == 1)
            let exits = harness.recorder.events.compactMap(\.workerExit)
            #expect(exits.map(\.cause) == [.unresponsive])
            #expect(exits.map(\.pid) == [stopped])
        }
    }

    @Test("A worker that can't be forked is tried again")
    func forkFails() async throws {
        let code =
            PoolTests.code + """

                real, failures = os.fork, [11, 12]

                def fork():
                    if failures:
                        raise OSError(failures.pop(), "not now")
                    return real()

                os.fork = fork
                """
        try await Harness.run { harness in
            try await harness.load(code)
            await harness.pool.startWorkers(1)
            await harness.submit(1, "add", arguments: "[1, 1]")
            #expect(try await harness.recorder.finished(1) == .success(result: "2"))
            let exits = harness.recorder.events.compactMap(\.workerExit)
            #expect(exits.map(\.exit) == [.code(-1), .code(-1)])
            #expect(exits.map(\.pid) == [0, 0])
        }
    }

    @Test("A worker with a job that takes longer than the time to read one is left alone")
    func busy() async throws {
        try await Harness.run(configure: { $0.readDeadline = .milliseconds(20) }) { harness in
            try await harness.start(PoolTests.code)
            await harness.submit(1, "sleep", arguments: "[0.3]")
            await harness.submit(2, "add", arguments: "[1, 2]")
            #expect(try await harness.recorder.finished(2) == .success(result: "3"))
            #expect(harness.recorder.events.compactMap(\.workerExit).isEmpty)
        }
    }

    @Test("A worker that hangs in worker_process_init is replaced")
    func hangsAtStart() async throws {
        let path = temporaryPath()
        defer { unlink(path) }
        let code =
            PoolTests.code + """

                @worker_process_init.connect
                def hang(**kwargs):
                    if not os.path.exists("\(path)"):
                        open("\(path)", "w").close()
                        time.sleep(600)
                """
        try await Harness.run { harness in
            try await harness.load(code)
            await harness.pool.startWorkers(1, readyDeadline: .seconds(1))
            await harness.submit(1, "add", arguments: "[1, 1]")
            #expect(try await harness.recorder.finished(1) == .success(result: "2"))
            #expect(harness.recorder.events.compactMap(\.workerExit).first?.cause == .notReady)
        }
    }
}
