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
        if !self.isWanted {
            self.isWanted = true
            self.stateChanges.send()
        }
        self.flush()
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
        defer { self.channel = nil }
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
