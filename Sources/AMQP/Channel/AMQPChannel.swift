public import NIOCore

/// A channel of a connection: declares, consumes, settles, publishes.
///
/// An actor on its connection's event loop. Requests that the broker answers are asynchronous, one at a time in the order of the calls; settlements and
/// unconfirmed messages are synchronous, and leave in one write for each turn of the loop.
public actor AMQPChannel {
    public nonisolated let eventLoop: any EventLoop
    public nonisolated var unownedExecutor: UnownedSerialExecutor { self.eventLoop.executor.asUnownedSerialExecutor() }

    /// The number on the wire.
    public nonisolated let number: UInt16
    /// Unique in the connection, which a number is not.
    public nonisolated let id: UInt64

    nonisolated let connection: AMQPConnection
    private var machine = ChannelMachine<UInt64>()
    private var replyWaiters = Waiters<Answer>()
    private var closeWaiters = Waiters<Void>()
    private var lastWaiter: UInt64 = 0
    var closeError: AMQPError?

    private var assembler = DeliveryAssembler()
    var consumers: [String: Consumer] = [:]
    var flows: [String: Flow] = [:]
    var unsettled: Set<UInt64> = []
    /// How many settlements were not sent, since their delivery belongs to another connection or channel or is settled.
    public internal(set) var staleSettlements = 0

    var confirms: ConfirmTracker<UInt64>?
    var confirmWaiters = Waiters<PublishResult>()
    var roomWaiters = Waiters<Void>()
    var returnHandler: (@Sendable (ReturnedMessage) -> Void)?
    /// How many confirmed messages may wait for the broker at a time; further ones wait for room.
    public var outstandingLimit = 1000

    struct Consumer {
        /// `nil` for one that nobody wants any more: what still comes goes back to its queue.
        var onEvent: (@Sendable (ConsumerEvent) -> Void)?
        var noAck: Bool
    }

    /// What the broker says to a request; `content` with a `basic.get-ok`.
    struct Answer: Sendable {
        var method: Method
        var content: DeliveryAssembler.Content?
    }

    init(number: UInt16, id: UInt64, connection: AMQPConnection) {
        self.number = number
        self.id = id
        self.connection = connection
        self.eventLoop = connection.eventLoop
    }

    // MARK: Opening and closing

    func open() async throws {
        _ = try await self.request(.channelOpen, reply: Method.ID(20, 11))
    }

    /// Closes in order: the broker has handled all that was sent on this channel before when this returns.
    ///
    /// A cancelled task does not wait; the channel ends all the same.
    /// - Throws: why the channel ended, if it was not for this; `CancellationError`.
    public func close() async throws {
        guard self.closeError == nil else { return }
        for tag in self.flows.keys { self.releaseFlow(tag) }
        if self.machine.isCloseQueued { return try await self.closed() }
        _ = try await self.request(.channelClose(Self.goodbye), reply: Method.ID(20, 41))
    }

    private static let goodbye = CloseReason(replyCode: 200, replyText: "Goodbye")
    /// Whether the broker knows of this channel.
    private var isOnWire = false

    /// Closes without waiting for anything.
    func abandon() {
        guard self.closeError == nil else { return }
        let error = AMQPError(.closed, "this channel was closed")
        guard self.isOnWire else { return self.ended(error) }
        // One close is enough, and the broker would take a second one amiss.
        if self.machine.state != .closing { self.write(.channelClose(Self.goodbye)) }
        self.isAbandoned = true
        self.end(error)
    }

    /// Its number stays taken until the broker has answered.
    private var isAbandoned = false

    /// Waits until the channel has ended, by itself or with its connection.
    /// - Throws: why it ended, unless its user closed it; `CancellationError`.
    public func closed() async throws {
        if let closeError {
            if closeError.code == .closed { return }
            throw closeError
        }
        let id = self.nextWaiter()
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                if Task.isCancelled { return continuation.resume(throwing: CancellationError()) }
                self.closeWaiters.insert(continuation, id)
            }
        } onCancel: {
            self.eventLoop.execute {
                self.assumeIsolated { $0.closeWaiters.cancel(id) }
            }
        }
    }

    /// The channel is no more, here and at the broker.
    func ended(_ error: AMQPError) {
        self.connection.assumeIsolated { $0.channelEnded(self.number) }
        self.end(error)
    }

    private func end(_ error: AMQPError) {
        guard self.closeError == nil else { return }
        self.closeError = error
        for waiter in self.machine.ended(error) { self.replyWaiters.resume(waiter, .failure(error)) }
        _ = self.confirms?.ended()
        self.confirmWaiters.resumeAll(.failure(error))
        self.roomWaiters.resumeAll(.failure(error))
        let consumers = self.consumers.values
        self.consumers.removeAll()
        self.unsettled.removeAll()
        for consumer in consumers { consumer.onEvent?(.closed(error)) }
        self.closeWaiters.resumeAll(error.code == .closed ? .success(()) : .failure(error))
    }

    // MARK: Requests

    func nextWaiter() -> UInt64 {
        self.lastWaiter += 1
        return self.lastWaiter
    }

    /// Sends a method and waits for its answer. A waiter that is cancelled leaves the request where it is: its answer is dropped when it comes, and
    /// those behind it get theirs.
    func request(_ method: Method, reply: Method.ID) async throws -> Method {
        try await self.answer(to: method, reply).method
    }

    func answer(to method: Method, _ replies: Method.ID...) async throws -> Answer {
        let id = self.nextWaiter()
        self.demandReading()
        defer { self.endReadingDemand() }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                if Task.isCancelled { return continuation.resume(throwing: CancellationError()) }
                if let closeError { return continuation.resume(throwing: closeError) }
                self.replyWaiters.insert(continuation, id)
                switch self.machine.request(method, replies: Set(replies), waiter: id) {
                case .send(let method): self.write(method)
                case .wait: break
                case .fail(let waiter, let error): self.replyWaiters.resume(waiter, .failure(error))
                }
            }
        } onCancel: {
            self.eventLoop.execute {
                self.assumeIsolated { $0.replyWaiters.cancel(id) }
            }
        }
    }

    func demandReading() { self.connection.assumeIsolated { $0.demandReading() } }

    func endReadingDemand() { self.connection.assumeIsolated { $0.endReadingDemand() } }

    func write(_ method: Method) {
        self.isOnWire = true
        self.connection.assumeIsolated { $0.send(method, channel: self.number) }
    }

    // MARK: From the broker

    func received(_ method: Method) throws(AMQPError) {
        if self.isAbandoned {
            if case .channelCloseOk = method { self.connection.assumeIsolated { $0.channelEnded(self.number) } }
            if case .channelClose = method { self.write(.channelCloseOk) }
            return
        }
        switch method {
        case .basicDeliver, .basicReturn, .basicGetOk: try self.assembler.announced(method)
        case .basicAck(let tag, let isMultiple): try self.confirmed(tag, isMultiple: isMultiple, isAcknowledged: true)
        case .basicNack(let tag, let isMultiple, _):
            try self.confirmed(tag, isMultiple: isMultiple, isAcknowledged: false)
        case .basicCancel(let tag, let noWait): self.cancelledByBroker(tag, noWait: noWait)
        case .channelFlow(let isActive): self.write(.channelFlowOk(isActive: isActive))
        case .channelClose(let reason):
            let error = AMQPError(.channelClosedByBroker, reason.replyText, reply: reason)
            self.write(.channelCloseOk)
            guard self.machine.state == .closing else { return self.ended(error) }
            // It crossed ours, which the broker answers still (AMQP 0-9-1, 1.5.2.5).
            self.isAbandoned = true
            self.end(error)
        default: try self.answered(method)
        }
    }

    private func answered(_ reply: Method, _ content: DeliveryAssembler.Content? = nil) throws(AMQPError) {
        switch self.machine.received(reply) {
        case .resume(let waiter, let reply, let request, let next):
            if let next { self.write(next) }
            // Here and not by whoever asked: that task may be cancelled, and what comes next may be in the same read.
            self.apply(reply, to: request)
            let isAwaited = self.replyWaiters.resume(waiter, .success(Answer(method: reply, content: content)))
            if !isAwaited { self.undo(reply, to: request) }
            if case .channelCloseOk = reply { self.ended(AMQPError(.closed, "this channel was closed")) }
        case .violation(let error): throw error
        case .ignore: break
        }
    }

    private func apply(_ reply: Method, to request: Method) {
        switch (reply, request) {
        case (.confirmSelectOk, _): if self.confirms == nil { self.confirms = ConfirmTracker() }
        case (.basicCancelOk(let tag), _):
            self.consumers[tag] = nil
            self.endFlow(tag, nil)
        case (.basicGetOk(let tag, _, _, _, _), .basicGet(_, noAck: false)): self.unsettled.insert(tag)
        default: break
        }
    }

    /// Whoever asked has been cancelled meanwhile.
    private func undo(_ reply: Method, to request: Method) {
        guard self.machine.isOpen else { return }
        switch (reply, request) {
        case (.basicConsumeOk(let tag), _):
            self.write(.basicCancel(consumerTag: tag, noWait: true))
        case (.basicGetOk(let tag, _, _, _, _), .basicGet(_, noAck: false)):
            self.unsettled.remove(tag)
            self.write(.basicReject(deliveryTag: tag, requeue: true))
        default: break
        }
    }

    func received(_ header: Frame.ContentHeader) throws(AMQPError) {
        guard !self.isAbandoned else { return }
        if let content = try self.assembler.header(header) { try self.received(content) }
    }

    func received(body piece: ByteBuffer) throws(AMQPError) {
        guard !self.isAbandoned else { return }
        if let content = try self.assembler.body(piece) { try self.received(content) }
    }

    private func received(_ content: DeliveryAssembler.Content) throws(AMQPError) {
        switch content.method {
        case .basicDeliver(let deliver): self.deliver(deliver, content)
        case .basicReturn(let code, let text, let exchange, let routingKey):
            let message = Message(
                exchange: exchange,
                routingKey: routingKey,
                properties: content.properties,
                body: content.body,
                isMandatory: true
            )
            self.returned(ReturnedMessage(replyCode: code, replyText: text, message: message))
        case .basicGetOk: try self.answered(content.method, content)
        default: break
        }
    }

    private func deliver(_ deliver: Method.Deliver, _ content: DeliveryAssembler.Content) {
        guard let consumer = self.consumers[deliver.consumerTag], let onEvent = consumer.onEvent else {
            // It was on its way when its consumer was given up. What needs no settlement is gone.
            guard self.consumers[deliver.consumerTag]?.noAck != true, self.machine.isOpen else { return }
            self.write(.basicReject(deliveryTag: deliver.deliveryTag, requeue: true))
            return
        }
        if !consumer.noAck { self.unsettled.insert(deliver.deliveryTag) }
        onEvent(
            .delivery(
                Delivery(
                    consumerTag: deliver.consumerTag,
                    token: DeliveryToken(epoch: self.connection.epoch, channel: self.id, tag: deliver.deliveryTag),
                    redelivered: deliver.redelivered,
                    exchange: deliver.exchange,
                    routingKey: deliver.routingKey,
                    properties: content.properties,
                    body: content.body
                )
            )
        )
    }

    private func cancelledByBroker(_ tag: String, noWait: Bool) {
        if !noWait { self.write(.basicCancelOk(consumerTag: tag)) }
        self.consumers.removeValue(forKey: tag)?.onEvent?(.cancelledByBroker(consumerTag: tag))
    }
}
