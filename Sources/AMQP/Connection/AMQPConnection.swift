import Logging
public import NIOCore
import Synchronization

/// A connection to a broker.
///
/// An actor on its socket's event loop: what comes from the socket is handled in the same step in which it is read, and whoever is on that loop
/// may call it synchronously, by `assumeIsolated`.
public actor AMQPConnection {
    public nonisolated let eventLoop: any EventLoop
    public nonisolated var unownedExecutor: UnownedSerialExecutor { self.eventLoop.executor.asUnownedSerialExecutor() }

    /// Tells this connection from all others of this process; in every delivery's token.
    public nonisolated let epoch: UInt64
    public nonisolated let configuration: ConnectionConfiguration

    nonisolated let logger: Logger
    let channel: any Channel
    private var machine: ConnectionMachine
    private(set) var tune: Method.Tune
    private var channels: [UInt16: AMQPChannel] = [:]
    private var lastChannelID: UInt64 = 0
    private var heartbeats: HeartbeatMonitor?
    private var heartbeatTimer: RepeatedTask?
    private var closeTimer: Scheduled<Void>?
    var flow = ReadFlow()

    private var outbound: ByteBuffer
    private var isFlushScheduled = false

    private var lastWaiter: UInt64 = 0
    private var openWaiters = Waiters<Void>()
    private var closeWaiters = Waiters<Void>()
    private var secretWaiters = Waiters<Void>()
    private var closeError: AMQPError?
    /// Why the broker accepts no messages now; `nil` while it does.
    public private(set) var blockedReason: String?
    private var blockedObservers: [@Sendable (Bool) -> Void] = []
    private var channelsAwaitingAcceptance: Set<UInt16> = []

    private static let epochs = Epochs()

    init(channel: any Channel, configuration: ConnectionConfiguration, logger: Logger) {
        self.channel = channel
        self.eventLoop = channel.eventLoop
        self.configuration = configuration
        self.machine = ConnectionMachine(configuration: configuration)
        self.tune = Method.Tune(channelMax: 1, frameMax: FrameDecoder.initialFrameMax, heartbeat: 0)
        self.epoch = Self.epochs.next()
        var logger = logger
        logger[metadataKey: LogKeys.endpoint] = "\(configuration.endpoint.address)"
        self.logger = logger
        self.outbound = channel.allocator.buffer(capacity: 4096)
    }

    // MARK: What a user asks

    /// Whether it is closed, by whomever.
    public var hasEnded: Bool { self.closeError != nil }

    /// What the broker says of itself.
    public var serverProperties: FieldTable { self.machine.serverProperties }

    /// Whether the broker has asked for no more messages (`connection.blocked`). All else goes on.
    public var isBlocked: Bool { self.blockedReason != nil }

    /// Seconds between heartbeats, as agreed on; 0 for none.
    public var heartbeat: UInt16 { self.tune.heartbeat }

    /// The largest frame, in bytes, as agreed on.
    public var frameMax: UInt32 { self.tune.frameMax }

    /// Calls `observer` on the event loop when the broker blocks publishing (`true`) and when it allows it again.
    public func observeBlocked(_ observer: @escaping @Sendable (Bool) -> Void) {
        self.blockedObservers.append(observer)
    }

    /// Opens a channel.
    public func openChannel() async throws -> AMQPChannel {
        try Task.checkCancellation()
        if let closeError { throw closeError }
        guard let number = self.freeChannelNumber() else {
            throw AMQPError(.limit, "all \(self.tune.channelMax) channels of this connection are open")
        }
        self.lastChannelID += 1
        let channel = AMQPChannel(number: number, id: self.lastChannelID, connection: self)
        self.channels[number] = channel
        do {
            try await channel.open()
        } catch {
            // Cancelled: the broker may open it all the same.
            await channel.abandon()
            throw error
        }
        return channel
    }

    /// Opens a channel for `body`, and closes it in order afterwards.
    public func withChannel<Result>(_ body: (AMQPChannel) async throws -> Result) async throws -> Result {
        let channel = try await self.openChannel()
        do {
            let result = try await body(channel)
            try await channel.close()
            return result
        } catch {
            await channel.abandon()
            throw error
        }
    }

    /// Replaces the password while connected (RabbitMQ, `connection.update-secret`).
    public func updateSecret(_ secret: String, reason: String) async throws {
        if let closeError { throw closeError }
        self.demandReading()
        defer { self.endReadingDemand() }
        try await self.waiting({ $0.secretWaiters.insert($1, $2) }, cancel: { $0.secretWaiters.cancel($1) }) {
            $0.send(.connectionUpdateSecret(secret: ByteBuffer(string: secret), reason: reason), channel: 0)
        }
    }

    /// Closes in order: the broker has handled all that was sent before when this returns. A cancelled task waits as well, for five seconds at most,
    /// as any does for a broker that doesn't answer.
    public func close() async {
        guard self.closeError == nil else { return }
        if let method = self.machine.close() {
            self.send(method, channel: 0)
            self.flush()
            // Or the answer would not be read.
            self.demandReading()
            self.closeTimer = self.eventLoop.scheduleTask(in: .seconds(Self.closeTimeout)) {
                self.assumeIsolated { $0.end(AMQPError(.closed, "this connection was closed")) }
            }
        } else if !self.machine.isClosing {
            return self.end(AMQPError(.closed, "this connection was closed"))
        }
        self.lastWaiter += 1
        let id = self.lastWaiter
        // What ended the connection meanwhile has ended it as well.
        try? await withCheckedThrowingContinuation { self.closeWaiters.insert($0, id) }
    }

    private static let closeTimeout: Int64 = 5

    /// Waits until the connection has ended.
    /// - Throws: why it ended, unless its user closed it; `CancellationError`.
    public func closed() async throws {
        if let closeError {
            if closeError.code == .closed { return }
            throw closeError
        }
        try await self.waiting({ $0.closeWaiters.insert($1, $2) }, cancel: { $0.closeWaiters.cancel($1) })
    }

    // MARK: Opening

    /// Waits for the handshake.
    func opened() async throws {
        if let closeError { throw closeError }
        if self.machine.isOpen { return }
        try await self.waiting({ $0.openWaiters.insert($1, $2) }, cancel: { $0.openWaiters.cancel($1) })
    }

    /// Begins the handshake; the socket is connected.
    func start() {
        self.outbound.writeBytes([0x41, 0x4D, 0x51, 0x50, 0, 0, 9, 1])
        self.flush()
    }

    /// Registers a waiter in the same step in which `action` sends what it waits for.
    private func waiting(
        _ insert: (isolated AMQPConnection, CheckedContinuation<Void, any Error>, UInt64) -> Void,
        cancel: @escaping @Sendable (isolated AMQPConnection, UInt64) -> Void,
        action: (isolated AMQPConnection) -> Void = { _ in }
    ) async throws {
        self.lastWaiter += 1
        let id = self.lastWaiter
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                if Task.isCancelled { return continuation.resume(throwing: CancellationError()) }
                insert(self, continuation, id)
                action(self)
            }
        } onCancel: {
            self.eventLoop.execute { self.assumeIsolated { cancel($0, id) } }
        }
    }

    // MARK: From the socket

    func received(_ frame: Frame) {
        guard self.closeError == nil else { return }
        switch frame {
        case .heartbeat: break
        case .method(0, let method): self.perform(self.machine.received(method))
        case .method(let number, let method):
            self.withChannel(number) { (channel) throws(AMQPError) in try channel.received(method) }
        case .header(let number, let header):
            self.withChannel(number) { (channel) throws(AMQPError) in try channel.received(header) }
        case .body(let number, let piece):
            self.withChannel(number) { (channel) throws(AMQPError) in try channel.received(body: piece) }
        }
    }

    func didRead() { self.heartbeats?.didRead(now: self.eventLoop.now) }

    func failed(_ error: AMQPError) { self.perform(self.machine.violate(error)) }

    func handshakeTimedOut(_ error: AMQPError) {
        guard !self.machine.isOpen else { return }
        self.end(error)
    }

    func disconnected(_ cause: AMQPError?) { self.end(self.machine.disconnected(cause)) }

    private func withChannel(
        _ number: UInt16,
        _ body: @Sendable (isolated AMQPChannel) throws(AMQPError) -> Void
    ) {
        guard self.machine.isOpen else {
            if case .closing = self.machine.state { return }
            return self.failed(.syntax("a frame of channel \(number) during the handshake"))
        }
        guard let channel = self.channels[number] else {
            return self.perform(
                self.machine.violate(.syntax("a frame of channel \(number), which is not open"), replyCode: 504)
            )
        }
        let error = channel.assumeIsolated { channel -> AMQPError? in
            do throws(AMQPError) {
                try body(channel)
                return nil
            } catch {
                return error
            }
        }
        if let error { self.perform(self.machine.violate(error, replyCode: 505)) }
    }

    private func perform(_ action: ConnectionMachine.Action) {
        switch action {
        case .none: break
        case .send(let method): self.send(method, channel: 0)
        case .tune(let tune, let methods):
            self.tune = tune
            self.onTuned?(tune.frameMax)
            for method in methods { self.send(method, channel: 0) }
            self.startHeartbeats()
        case .opened: self.openWaiters.resumeAll(.success(()))
        case .blocked(let reason):
            self.blockedReason = reason
            self.logger.warning("the broker accepts no messages now", metadata: [LogKeys.reason: "\(reason)"])
            for observer in self.blockedObservers { observer(true) }
        case .unblocked:
            self.blockedReason = nil
            self.logger.notice("the broker accepts messages again")
            for observer in self.blockedObservers { observer(false) }
            self.acceptanceChanged()
        case .secretUpdated: self.secretWaiters.resumeAll(.success(()))
        case .answerClose(let error):
            self.send(.connectionCloseOk, channel: 0)
            self.flush()
            self.end(error)
        case .finish(let error): self.end(error)
        case .violate(let error, let method):
            if let method {
                self.send(method, channel: 0)
                self.flush()
            }
            self.end(error)
        }
    }

    /// Told the frame limit as soon as it is agreed on, for the decoder.
    var onTuned: ((UInt32) -> Void)?

    func observeTune(_ observer: @escaping (UInt32) -> Void) { self.onTuned = observer }

    private func startHeartbeats() {
        self.heartbeats = HeartbeatMonitor(seconds: self.tune.heartbeat, now: self.eventLoop.now)
        guard let interval = self.heartbeats?.tickInterval else { return }
        self.heartbeatTimer = self.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            self.assumeIsolated { $0.heartbeatTick() }
        }
    }

    private func heartbeatTick() {
        switch self.heartbeats?.tick(now: self.eventLoop.now, isReading: self.flow.isReading) {
        case .send:
            Frame.heartbeat.write(to: &self.outbound)
            self.flush()
        case .peerIsSilent:
            self.end(AMQPError(.heartbeatTimeout, "nothing came from it for \(Int(self.tune.heartbeat) * 2) seconds"))
        case nil, .some(.none): break
        }
    }

    private func end(_ error: AMQPError) {
        guard self.closeError == nil else { return }
        self.closeError = error
        self.heartbeatTimer?.cancel()
        self.closeTimer?.cancel()
        let channels = self.channels.values
        self.channels.removeAll()
        for channel in channels { channel.assumeIsolated { $0.ended(error) } }
        let isOrderly = error.code == .closed
        self.openWaiters.resumeAll(.failure(error))
        self.secretWaiters.resumeAll(.failure(error))
        self.closeWaiters.resumeAll(isOrderly ? .success(()) : .failure(error))
        self.onTuned = nil
        self.blockedObservers.removeAll()
        // Whatever still is in the way of closing, the socket is gone for us.
        self.channel.close(promise: nil)
    }

    // MARK: To the socket

    func send(_ method: Method, channel: UInt16) {
        Frame.method(channel: channel, method).write(to: &self.outbound)
        self.scheduleFlush()
    }

    func send(_ message: Message, channel: UInt16) {
        Frame.writeMessage(
            channel: channel,
            method: .basicPublish(
                exchange: message.exchange,
                routingKey: message.routingKey,
                isMandatory: message.isMandatory
            ),
            properties: message.properties,
            body: message.body,
            frameMax: self.tune.frameMax,
            to: &self.outbound
        )
        self.scheduleFlush()
    }

    /// Whether the socket takes what is written; if not, publishing waits.
    var isWritable: Bool { self.channel.isWritable && self.outbound.readableBytes < Self.outboundLimit }

    private static let outboundLimit = 1 << 20

    /// All that is written in one turn of the event loop goes out in one write.
    private func scheduleFlush() {
        guard !self.isFlushScheduled else { return }
        self.isFlushScheduled = true
        self.eventLoop.execute { self.assumeIsolated { $0.flush() } }
    }

    func flush() {
        self.isFlushScheduled = false
        guard self.outbound.readableBytes > 0 else { return }
        self.heartbeats?.didWrite(now: self.eventLoop.now)
        self.channel.writeAndFlush(self.outbound, promise: nil)
        // The written buffer is the socket's until it is sent, so a new one begins.
        self.outbound = self.channel.allocator.buffer(capacity: 1024)
        self.acceptanceChanged()
    }

    /// Those who wait to publish may go on, if the broker and the socket take messages.
    func acceptanceChanged() {
        guard !self.channelsAwaitingAcceptance.isEmpty, self.blockedReason == nil, self.isWritable else { return }
        let waiting = self.channelsAwaitingAcceptance
        self.channelsAwaitingAcceptance.removeAll()
        for number in waiting { self.channels[number]?.assumeIsolated { $0.makeRoom() } }
    }

    /// The channel is told once messages are accepted again.
    func awaitAcceptance(channel number: UInt16) { self.channelsAwaitingAcceptance.insert(number) }

    // MARK: Channels

    func channelEnded(_ number: UInt16) { self.channels[number] = nil }

    private func freeChannelNumber() -> UInt16? {
        let limit = self.tune.channelMax == 0 ? UInt16.max : self.tune.channelMax
        return (1...limit).first { self.channels[$0] == nil }
    }
}

/// Numbers connections.
private final class Epochs: Sendable {
    private let last = Atomic<UInt64>(0)

    func next() -> UInt64 { self.last.add(1, ordering: .relaxed).newValue }
}
