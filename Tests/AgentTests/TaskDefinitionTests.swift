import Logging
import NIOCore
import Synchronization
import Testing

@testable import Agent

@Suite("Task definition")
struct TaskDefinitionTests {
    @Test("a definition is kept as it came")
    func valid() throws {
        let body = ByteBuffer(
            string: " {\"code\": \"x = 1\\ud800\", \"n\": NaN, \"big\": 123456789012345678901234567890}\n"
        )
        let definition = try TaskDefinition(runID: "ab", podIndex: "3", body: body)
        #expect(definition.body == body)
        #expect(definition.runID == "ab")
        #expect(definition.podIndex == "3")
        #expect(TaskDefinition.key(runID: "ab", podIndex: "3") == "ab3")
    }

    @Test(
        "what is no definition ends with 78, and says what was found",
        arguments: [
            ("", "found 0 bytes, not JSON"), ("x", "found 1 byte, not JSON"),
            ("{\"code\": \"\"", "found 11 bytes, not JSON"),
            ("[1]", "found an array"), ("\"s\"", "found a string"), ("null", "found null"),
            ("{}", "found an object without \"code\""), ("{\"code\": 5}", "found an object whose \"code\" is a number"),
            ("{\"code\": null}", "found an object whose \"code\" is null"), ("{\"code\": {}}", "\"code\" is an object"),
        ]
    )
    func invalid(body: String, part: String) {
        let error = #expect(throws: TaskDefinitionError.self) {
            try TaskDefinition(runID: "ab", podIndex: "0", body: ByteBuffer(string: body))
        }
        #expect(error?.exitStatus == .configuration)
        #expect(error?.message.contains(part) == true)
        #expect(error?.message.contains("\"ab0\"") == true)
    }

    private static func store(
        deadline: Duration,
        clock: ImmediateClock,
        sink: RecordingSink,
        level: Logger.Level = .info,
        read: @escaping @Sendable (String) async throws -> ByteBuffer?
    ) -> TaskDefinitionStore<ImmediateClock> {
        TaskDefinitionStore(
            configuration: RedisConfiguration(host: "h", port: 1),
            deadline: deadline,
            clock: clock,
            logger: sink.logger(level: level),
            random: { 1 },
            read: read
        )
    }

    @Test("a missing key is looked for until the deadline, then 69 says which, where and how long")
    func neverThere() async {
        let clock = ImmediateClock()
        let sink = RecordingSink()
        let times = Mutex<[Duration]>([])
        let store = Self.store(deadline: .seconds(60), clock: clock, sink: sink) { key in
            #expect(key == "run7")
            times.withLock { $0.append(clock.now.offset) }
            return nil
        }
        let error = await #expect(throws: TaskDefinitionError.self) {
            try await store.fetch(runID: "run", podIndex: "7")
        }
        #expect(error?.exitStatus == .unavailable)
        #expect(
            error?.message
                == "task definition \"run7\" not found in 60 s, 18 attempts: Redis at h:1 has no such key in database 0"
        )
        // 0.1 s, doubled up to 5 s; the last attempt is at the deadline itself.
        #expect(times.withLock { $0.prefix(4) } == [.zero, .milliseconds(100), .milliseconds(300), .milliseconds(700)])
        #expect(times.withLock { $0.last } == .seconds(60))
        // At once, then every 15 s.
        #expect((3...5).contains(sink.lines.count))
        #expect(sink.lines.first?.contains("info task definition not there yet") == true)
    }

    @Test("a key that comes later is found, whatever went wrong before")
    func comesLater() async throws {
        let sink = RecordingSink()
        let attempts = Mutex(0)
        let store = Self.store(deadline: .seconds(60), clock: ImmediateClock(), sink: sink) { _ in
            let attempt = attempts.withLock { attempts in
                attempts += 1
                return attempts
            }
            switch attempt {
            case 1, 2: throw RedisError.unreachable(reason: "refused")
            case 3: throw RedisError.busy(reason: "LOADING")
            case 4: return nil
            default: return ByteBuffer(string: "{\"code\": \"\"}")
            }
        }
        _ = try await store.fetch(runID: "run", podIndex: "7")
        #expect(attempts.withLock { $0 } == 5)
        // One line per reason.
        #expect(sink.lines.count == 3)
    }

    @Test("a deadline of zero is one attempt")
    func noPatience() async {
        let attempts = Mutex(0)
        let store = Self.store(deadline: .zero, clock: ImmediateClock(), sink: RecordingSink()) { _ in
            attempts.withLock { $0 += 1 }
            throw RedisError.closed
        }
        let error = await #expect(throws: TaskDefinitionError.self) { try await store.fetch(runID: "r", podIndex: "0") }
        #expect(attempts.withLock { $0 } == 1)
        #expect(error?.message.hasSuffix("1 attempt: Redis at h:1: the server closed the connection") == true)
    }

    @Test(
        "what waiting can't change ends at once with 78",
        arguments: [
            RedisError.authenticationFailed(code: "WRONGPASS"), .wrongType(key: "r0"),
            .refused(command: "SELECT", reason: "x"),
            .tlsConfiguration(reason: "x"),
        ]
    )
    func permanent(reason: RedisError) async {
        let store = Self.store(deadline: .seconds(60), clock: ImmediateClock(), sink: RecordingSink()) { _ in
            throw reason
        }
        let error = await #expect(throws: TaskDefinitionError.self) { try await store.fetch(runID: "r", podIndex: "0") }
        #expect(error == .refused(key: "r0", address: "h:1", reason))
        #expect(error?.exitStatus == .configuration)
    }

    @Test("cancellation ends the search")
    func cancelled() async {
        let store = Self.store(deadline: .seconds(60), clock: ImmediateClock(), sink: RecordingSink()) { _ in
            withUnsafeCurrentTask { $0?.cancel() }
            return nil
        }
        let search = Task { try await store.fetch(runID: "r", podIndex: "0") }
        await #expect(throws: CancellationError.self) { try await search.value }
    }

    @Test("pauses double up to the longest, and chance shortens them by at most half")
    func backoff() {
        var backoff = Backoff(initial: .seconds(1), maximum: .seconds(5))
        #expect((0..<5).map { _ in backoff.next(random: 1) } == [1, 2, 4, 5, 5].map { .seconds($0) })
        #expect(backoff.next(random: 0) == .milliseconds(2500))
        #expect(backoff.next(random: 7) == .seconds(5))
    }
}
