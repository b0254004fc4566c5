import Logging
import NIOCore

/// Finds an agent's task definition in Redis, however late either of them comes.
public struct TaskDefinitionStore<C: Clock>: Sendable where C.Duration == Duration {
    /// While nothing changes, a log line at most this often.
    private static var reminderInterval: Duration { .seconds(15) }

    private let configuration: RedisConfiguration
    private let deadline: Duration
    private let clock: C
    private let logger: Logger
    private let random: @Sendable () -> Double
    private let read: @Sendable (_ key: String) async throws -> ByteBuffer?

    /// A store on a real Redis.
    ///
    /// - Parameters:
    ///   - configuration: the server.
    ///   - deadline: how long to look, from the call of ``fetch(runID:podIndex:)`` on.
    ///   - eventLoop: where connections live.
    public init(
        configuration: RedisConfiguration,
        deadline: Duration,
        on eventLoop: any EventLoop,
        logger: Logger
    ) where C == ContinuousClock {
        self.init(configuration: configuration, deadline: deadline, clock: ContinuousClock(), logger: logger) { key in
            try await RedisConnection.withConnection(to: configuration, on: eventLoop) { try await $0.get(key) }
        }
    }

    /// - Parameters:
    ///   - random: from 0 to 1, for the jitter.
    ///   - read: one attempt to read a key; throws `RedisError`.
    init(
        configuration: RedisConfiguration,
        deadline: Duration,
        clock: C,
        logger: Logger,
        random: @escaping @Sendable () -> Double = { Double.random(in: 0...1) },
        read: @escaping @Sendable (_ key: String) async throws -> ByteBuffer?
    ) {
        self.configuration = configuration
        self.deadline = deadline
        self.clock = clock
        self.logger = logger
        self.random = random
        self.read = read
    }

    /// Looks for the definition until the deadline; the last attempt starts at the deadline.
    ///
    /// - Throws: ``TaskDefinitionError`` or, if the task is cancelled, `CancellationError`.
    public func fetch(runID: String, podIndex: String) async throws -> TaskDefinition {
        let key = TaskDefinition.key(runID: runID, podIndex: podIndex)
        let start = self.clock.now
        let end = start.advanced(by: self.deadline)
        var backoff = Backoff()
        var attempts = 0
        var lastLog: (time: C.Instant, reason: RedisError?)?
        while true {
            attempts += 1
            let startsAtEnd = self.clock.now >= end
            let reason: RedisError?
            do {
                if let body = try await self.read(key) {
                    return try TaskDefinition(runID: runID, podIndex: podIndex, body: body)
                }
                reason = nil
            } catch let error as RedisError where error.isTransient {
                reason = error
            } catch let error as RedisError {
                throw TaskDefinitionError.refused(key: key, address: self.configuration.address, error)
            }
            let now = self.clock.now
            if startsAtEnd {
                throw TaskDefinitionError.unavailable(
                    key: key,
                    database: self.configuration.database,
                    address: self.configuration.address,
                    waited: start.duration(to: now),
                    attempts: attempts,
                    lastError: reason
                )
            }
            let isWorthALine =
                lastLog.map { $0.reason != reason || $0.time.duration(to: now) >= Self.reminderInterval } ?? true
            self.log(isWorthALine ? .info : .debug, key, reason, attempts)
            if isWorthALine { lastLog = (now, reason) }
            let pause = backoff.next(random: self.random())
            try await self.clock.sleep(until: min(now.advanced(by: pause), max(end, now)), tolerance: .zero)
        }
    }

    private func log(_ level: Logger.Level, _ key: String, _ reason: RedisError?, _ attempts: Int) {
        var metadata: Logger.Metadata = [
            LogKeys.key: .string(key), LogKeys.address: .string(self.configuration.address),
            LogKeys.attempt: .stringConvertible(attempts),
        ]
        if let reason { metadata[LogKeys.error] = .string(reason.description) }
        self.logger.log(
            level: level,
            reason == nil
                ? "task definition not there yet, looking again" : "task definition not readable yet, trying again",
            metadata: metadata
        )
    }
}
