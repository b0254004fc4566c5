import Glibc
import JSON
import Logging
import Marshal
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing

@testable import PythonPool

/// What a test failed to see in time.
struct Unseen: Error, CustomStringConvertible {
    var description: String
}

/// The events of a pool, to be awaited.
final class Recorder: Sendable {
    private struct State {
        var events: [PoolEvent] = []
        var waiters: [(UInt64, @Sendable ([PoolEvent]) -> Bool, CheckedContinuation<Bool, Never>)] = []
        var last: UInt64 = 0
    }

    private let state = NIOLockedValueBox(State())

    func record(_ event: PoolEvent) {
        let ready = state.withLockedValue { state in
            state.events.append(event)
            let events = state.events
            let ready = state.waiters.filter { $0.1(events) }
            state.waiters.removeAll { $0.1(events) }
            return ready.map(\.2)
        }
        for waiter in ready { waiter.resume(returning: true) }
    }

    var events: [PoolEvent] { state.withLockedValue { $0.events } }

    /// Waits until the events so far satisfy a condition, for a minute at most.
    func until(_ what: String, _ condition: @escaping @Sendable ([PoolEvent]) -> Bool) async throws {
        let id = state.withLockedValue { state in
            state.last += 1
            return state.last
        }
        let seen = try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                await withCheckedContinuation { continuation in
                    let now = self.state.withLockedValue { state in
                        if condition(state.events) { return true }
                        state.waiters.append((id, condition, continuation))
                        return false
                    }
                    if now { continuation.resume(returning: true) }
                }
            }
            group.addTask {
                try await Task.sleep(for: .seconds(60))
                let waiter = self.state.withLockedValue { state in
                    let found = state.waiters.first { $0.0 == id }
                    state.waiters.removeAll { $0.0 == id }
                    return found
                }
                waiter?.2.resume(returning: false)
                return false
            }
            let first = try await group.next() ?? false
            group.cancelAll()
            return first
        }
        if !seen { throw Unseen(description: "\(what); events: \(events.suffix(20))") }
    }

    func finished(_ job: UInt64) async throws -> PoolOutcome {
        try await until("job \(job) finished") { $0.contains { $0.ends == job } }
        for event in events {
            if case .finished(job, _, let outcome, _, _) = event { return outcome }
        }
        throw Unseen(description: "job \(job) was lost")
    }
}

extension PoolEvent {
    /// The job that the event ends.
    var ends: UInt64? {
        switch self {
        case .finished(let job, _, _, _, _), .lost(let job, _): job
        default: nil
        }
    }

    var readyPid: Int32? {
        if case .workerReady(let pid, _) = self { pid } else { nil }
    }

    var line: PoolOutput? {
        if case .output(let output) = self { output } else { nil }
    }

    var workerExit: WorkerExit? {
        if case .workerExited(let exit) = self { exit } else { nil }
    }
}

/// A running pool with the interpreter and packages of the project.
struct Harness {
    let pool: PythonPool
    let recorder: Recorder

    static let root: String = {
        var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast(4)
        return parts.joined(separator: "/")
    }()

    static let python: String = {
        if let value = getenv("AGENT_PYTHON") { return String(cString: value) }
        return root + "/.venv/bin/python"
    }()

    static func configuration(depth: Int = 4) -> PoolConfiguration {
        var environment: [String: String] = [:]
        for name in ["PATH", "HOME", "LANG"] {
            if let value = getenv(name) { environment[name] = String(cString: value) }
        }
        return PoolConfiguration(python: python, runtime: root + "/Python", environment: environment, depth: depth)
    }

    /// Runs `body` with a pool, and ends the pool whatever happens.
    static func run(
        depth: Int = 4,
        configure: (inout PoolConfiguration) -> Void = { _ in },
        _ body: @escaping @Sendable (Harness) async throws -> Void
    ) async throws {
        let recorder = Recorder()
        var configuration = configuration(depth: depth)
        configure(&configuration)
        let pool = PythonPool(
            configuration: configuration,
            eventLoop: MultiThreadedEventLoopGroup.singleton.any(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            onEvent: { recorder.record($0) }
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                do { try await pool.run() } catch PoolError.mainExited {}
            }
            do {
                try await body(Harness(pool: pool, recorder: recorder))
            } catch {
                group.cancelAll()
                throw error
            }
            await pool.shutdown(deadline: .seconds(20))
            try await group.waitForAll()
        }
    }

    /// Loads code as an agent does.
    @discardableResult
    func load(_ code: String, options: String = "{}") async throws -> String {
        let request = """
            {"mode": "armada", "message": {"code": \(quoted(code)), "extra": 7}, "run_id": "run", "pod_index": "0", \
            "broker_url": "memory://", "hostname": "worker0@host", "queues": ["run"], "options": \(options)}
            """
        return String(buffer: try await pool.load(ByteBuffer(string: request)))
    }

    /// Loads code and starts workers.
    func start(_ code: String, workers: Int = 1, options: String = "{}") async throws {
        try await load(code, options: options)
        await pool.startWorkers(workers)
        try await recorder.until("\(workers) workers ready") { $0.filter { $0.readyPid != nil }.count >= workers }
    }

    func submit(
        _ id: UInt64,
        _ task: String,
        arguments: String = "[]",
        flags: PoolJob.Flags = [],
        contentType: String = "application/json",
        body: String? = nil
    ) async {
        var job = Self.job(id, task, arguments: arguments, flags: flags, contentType: contentType)
        if let body { job.body = ByteBuffer(string: body) }
        await pool.submit(job)
    }

    static func job(
        _ id: UInt64,
        _ task: String,
        arguments: String = "[]",
        flags: PoolJob.Flags = [],
        contentType: String = "application/json"
    ) -> PoolJob {
        let headers: JSON = [
            "lang": "py", "task": .string(task), "id": .string("id-\(id)"), "root_id": .string("id-\(id)"),
            "retries": 0, "timelimit": [.null, .null], "ignore_result": false,
        ]
        let info: JSON = [
            "properties": [
                "content_type": .string(contentType), "content_encoding": "utf-8", "delivery_mode": 2, "priority": 0,
            ],
            "reply_to": "reply", "correlation_id": .string("id-\(id)"), "hostname": "worker0@host",
            "delivery_info": ["exchange": "", "routing_key": "run", "priority": 0, "redelivered": false],
        ]
        let body = "[\(arguments), {}, {\"callbacks\": null, \"errbacks\": null, \"chain\": null, \"chord\": null}]"
        return PoolJob(
            id: id,
            headers: self.marshalled(headers),
            info: self.marshalled(info),
            body: ByteBuffer(string: body),
            flags: flags
        )
    }

    private static func marshalled(_ value: JSON) -> ByteBuffer {
        var writer = MarshalWriter()
        writer.json(value)
        return writer.buffer
    }

    private func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

/// Whether a process exists and isn't merely waiting to be reaped.
func isAlive(_ pid: Int32) -> Bool {
    guard let state = processState(pid) else { return false }
    return state != "Z" && state != "X"
}

/// A process's state by its letter (proc(5)); `nil` if there is none.
func processState(_ pid: Int32) -> Character? {
    guard let file = fopen("/proc/\(pid)/stat", "r") else { return nil }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 512)
    guard fgets(&line, Int32(line.count), file) != nil else { return nil }
    let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    guard let end = text.lastIndex(of: ")") else { return nil }
    return text[end...].dropFirst(2).first
}

/// Stops a process, and waits, for ten seconds at most, until it has stopped: the signal takes its time. Returns whether it has.
func stops(_ pid: Int32) async -> Bool {
    Glibc.kill(pid, SIGSTOP)
    for _ in 0..<2000 where processState(pid) != "T" { try? await Task.sleep(for: .milliseconds(5)) }
    return processState(pid) == "T"
}

/// Waits, for ten seconds at most, until a process that isn't a child of this one has ended.
func ends(_ pid: Int32) async -> Bool {
    for _ in 0..<2000 where isAlive(pid) { try? await Task.sleep(for: .milliseconds(5)) }
    return !isAlive(pid)
}

/// A path that no file has.
func temporaryPath() -> String { "/tmp/pool-test-\(getpid())-\(UInt64.random(in: 0 ... .max))" }
