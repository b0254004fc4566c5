import AMQP
import DequeModule
import Logging
import NIOCore

/// Publishes replies and events over a connection of its own, since a broker that is short of memory stops reading from connections that
/// publish, and acknowledgements must not wait for that.
///
/// What can't be sent at once waits here, up to a bound; beyond it the oldest is dropped.
actor Publisher {
    nonisolated let eventLoop: any EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { self.eventLoop.executor.asUnownedSerialExecutor() }

    static let bufferLimit = 10_000

    private var broker: BrokerConfiguration?
    private let logger: Logger
    private let stateChanges = Broadcast()
    private var connection: AMQPConnection?
    private var channel: AMQPChannel?
    private var waiting = Deque<Message>()
    private var isWanted = false
    private var exchanges: [ExchangeDeclaration] = []
    /// How many messages were dropped, as too many waited.
    private(set) var droppedCount = 0

    init(eventLoop: any EventLoop, logger: Logger) {
        self.eventLoop = eventLoop
        self.logger = logger
    }

    /// Connects once there is something to publish and a broker is known, and stays connected until it is cancelled.
    func run() async {
        do {
            let broker = try await self.untilWanted()
            let client = AMQPClient(
                configurations: broker.connections(purpose: "publisher"),
                policy: broker.recovery,
                eventLoop: self.eventLoop,
                logger: self.logger
            )
            try await client.run { connection in try await self.serve(connection) }
        } catch is CancellationError {
            return
        } catch {
            self.logger.error("replies and events can't be published", metadata: [LogKeys.error: "\(error)"])
        }
    }

    /// - Parameters:
    ///   - broker: where to publish.
    ///   - exchanges: that must be there before anything is published to them.
    func configure(broker: BrokerConfiguration, exchanges: [ExchangeDeclaration]) {
        self.broker = broker
        self.exchanges = exchanges
        self.stateChanges.send()
    }

    /// Publishes now, or as soon as there is a connection.
    func publish(_ message: Message) {
        self.waiting.append(message)
        if self.waiting.count > Self.bufferLimit {
            self.waiting.removeFirst()
            self.droppedCount += 1
        }
        self.want()
        self.flush()
    }

    /// Publishes over a channel of its own, and returns what the broker makes of it. Waits for a connection, too.
    /// - Throws: ``ConfirmedDelivery/Failure/tooLate(_:)``, `AMQPError`; the broker may have taken the message on all the same.
    func publishConfirmed(_ message: Message, within limit: Duration = .seconds(30)) async throws -> PublishResult {
        try await withThrowingTaskGroup(of: PublishResult.self) { group in
            group.addTask {
                try await self.connected().withChannel { channel in
                    try await channel.confirmSelect()
                    return try await channel.publishConfirmed(message)
                }
            }
            group.addTask {
                try await Task.sleep(for: limit)
                throw ConfirmedDelivery.Failure.tooLate(limit)
            }
            defer { group.cancelAll() }
            guard let result = try await group.next() else { throw CancellationError() }
            return result
        }
    }

    private func want() {
        guard !self.isWanted else { return }
        self.isWanted = true
        self.stateChanges.send()
    }

    private func connected() async throws -> AMQPConnection {
        self.want()
        let changes = self.stateChanges.subscribe()
        if let connection { return connection }
        for await _ in changes {
            if let connection { return connection }
        }
        throw CancellationError()
    }

    /// How long a broker that accepts no messages may delay the end, in seconds.
    private static let closeTimeout = 2.0

    /// Sends what can be sent, and waits until the broker has it, or for a while if it does not take it.
    func close() async {
        self.flush()
        guard let channel else { return }
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                do {
                    try await channel.close()
                } catch {
                    self.logger.debug("the last replies may be lost", metadata: [LogKeys.error: "\(error)"])
                }
            }
            group.addTask { try? await Task.sleep(for: .seconds(Self.closeTimeout)) }
            await group.next()
            group.cancelAll()
        }
    }

    private func serve(_ connection: AMQPConnection) async throws {
        let channel = try await connection.openChannel()
        // To publish to an exchange that isn't there closes the channel.
        for exchange in self.exchanges { try await channel.declare(exchange) }
        self.channel = channel
        self.connection = connection
        self.stateChanges.send()
        defer {
            self.channel = nil
            self.connection = nil
        }
        self.flush()
        await connection.observeBlocked { isBlocked in
            if !isBlocked { self.assumeIsolated { $0.flush() } }
        }
        try await channel.closed()
    }

    private func flush() {
        guard let channel else { return }
        while let message = self.waiting.popFirst() {
            do {
                try channel.assumeIsolated { try $0.publish(message) }
            } catch {
                // Blocked or closing: it waits for better times.
                self.waiting.prepend(message)
                return
            }
        }
    }

    private func untilWanted() async throws -> BrokerConfiguration {
        let changes = self.stateChanges.subscribe()
        if self.isWanted, let broker { return broker }
        for await _ in changes {
            if self.isWanted, let broker { return broker }
        }
        throw CancellationError()
    }
}
