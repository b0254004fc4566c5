public import Logging
public import NIOCore

/// Keeps a connection to one of several brokers: connects, and connects anew when the connection is lost.
public struct AMQPClient: Sendable {
    private let configurations: [ConnectionConfiguration]
    private let policy: RecoveryPolicy
    private let eventLoop: any EventLoop
    private let logger: Logger
    private let sleep: @Sendable (Double) async throws -> Void

    /// - Parameters:
    ///   - configurations: of the brokers, at least one, in the order in which they are tried.
    ///   - sleep: waits for so many seconds.
    public init(
        configurations: [ConnectionConfiguration],
        policy: RecoveryPolicy = RecoveryPolicy(),
        eventLoop: any EventLoop,
        logger: Logger,
        sleep: @escaping @Sendable (Double) async throws -> Void = { try await Task.sleep(for: .seconds($0)) }
    ) {
        precondition(!configurations.isEmpty, "a client needs a broker to connect to")
        self.configurations = configurations
        self.policy = policy
        self.eventLoop = eventLoop
        self.logger = logger
        self.sleep = sleep
    }

    /// Calls `body` with a connection, and again with a fresh one when it fails with an ``AMQPError``, or with anything else once its connection is
    /// gone. Each connection has its own epoch.
    ///
    /// - Throws: what `body` throws while its connection lives; a permanent error (``AMQPError/isPermanent``) of all brokers before the first
    ///   connection; the last error, after as many attempts as the policy allows; `CancellationError`.
    public func run(_ body: (AMQPConnection) async throws -> Void) async throws {
        var failures = 0
        var hasConnected = false
        while true {
            let (connection, error) = try await self.connectToAny()
            var lastError = error
            if let connection {
                hasConnected = true
                let start = ContinuousClock.now
                do {
                    try await body(connection)
                    await connection.close()
                    return
                } catch let error as AMQPError {
                    await connection.close()
                    lastError = error
                } catch {
                    let isGone = await connection.hasEnded
                    await connection.close()
                    guard isGone, !(error is CancellationError) else { throw error }
                    lastError = AMQPError(.connectionLost, "\(error)")
                }
                if start.duration(to: .now) >= .seconds(self.policy.stableAfter) { failures = 0 }
            }
            try Task.checkCancellation()
            failures += 1
            guard let lastError else { continue }
            if lastError.isPermanent, !hasConnected { throw lastError }
            let limit = hasConnected ? self.policy.maximumAttempts : self.policy.maximumAttemptsAtStart
            if let limit, failures > limit { throw lastError }
            try await self.pause(after: lastError, failures: failures)
        }
    }

    private func pause(after error: AMQPError, failures: Int) async throws {
        let delay = self.policy.delay(failures: failures, chance: Double.random(in: 0...1))
        self.logger.warning(
            "no connection to the broker",
            metadata: [
                LogKeys.error: "\(error)",
                LogKeys.attempt: "\(failures)",
                LogKeys.retryIn: "\((delay * 10).rounded() / 10)",
            ]
        )
        try await self.sleep(delay)
    }

    /// Tries each broker once.
    private func connectToAny() async throws -> (AMQPConnection?, AMQPError?) {
        var lastError: AMQPError?
        let order =
            self.policy.failover == .shuffle && self.configurations.count > 1
            ? self.configurations.shuffled() : self.configurations
        for configuration in order {
            try Task.checkCancellation()
            do {
                return (
                    try await AMQPConnection.connect(configuration, on: self.eventLoop, logger: self.logger), nil
                )
            } catch let error as AMQPError {
                // Of several errors, one that time may mend tells more.
                if lastError == nil || lastError?.isPermanent == true { lastError = error }
                self.logger.debug(
                    "can't connect",
                    metadata: [LogKeys.endpoint: "\(configuration.endpoint.address)", LogKeys.error: "\(error)"]
                )
            }
        }
        return (nil, lastError)
    }
}
