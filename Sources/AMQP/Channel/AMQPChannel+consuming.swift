import NIOCore

extension AMQPChannel {
    /// Limits how many deliveries may be unsettled at a time; 0 for no limit. RabbitMQ before 4.0 counts `isGlobal` for the channel, and others for each
    /// consumer that starts afterwards.
    public func qos(prefetchCount: UInt16, isGlobal: Bool = false) async throws {
        _ = try await self.request(
            .basicQos(prefetchSize: 0, prefetchCount: prefetchCount, isGlobal: isGlobal),
            reply: Method.ID(60, 11)
        )
    }

    /// Starts a consumer whose events are handed over on the event loop, in order, as they are read. How many may come at a time is for
    /// ``qos(prefetchCount:isGlobal:)`` to say; set it first.
    /// - Parameter onEvent: called synchronously on the channel's event loop.
    /// - Returns: the consumer's tag.
    public func consume(
        queue: String,
        consumerTag: String? = nil,
        noAck: Bool = false,
        isExclusive: Bool = false,
        arguments: FieldTable = [:],
        onEvent: @escaping @Sendable (ConsumerEvent) -> Void
    ) async throws -> String {
        // A tag of our own, so that the consumer is known before its first delivery, which may come right behind the answer.
        let tag = consumerTag ?? self.newConsumerTag()
        guard self.consumers[tag] == nil else { throw Self.taken(tag) }
        self.consumers[tag] = Consumer(onEvent: onEvent, noAck: noAck)
        do {
            _ = try await self.request(
                .basicConsume(
                    Method.Consume(
                        queue: queue,
                        consumerTag: tag,
                        noAck: noAck,
                        isExclusive: isExclusive,
                        noWait: false,
                        arguments: arguments
                    )
                ),
                reply: Method.ID(60, 21)
            )
        } catch {
            // The broker may start it all the same, if it is this task that was cancelled; then it is ended at once.
            self.consumers[tag] = Consumer(onEvent: nil, noAck: noAck)
            throw error
        }
        return tag
    }

    func newConsumerTag() -> String { "ctag-\(self.id).\(self.nextWaiter())" }

    static func taken(_ tag: String) -> AMQPError {
        AMQPError(.limit, "a consumer '\(tag)' is on this channel already")
    }

    /// Ends a consumer. Deliveries may come until this returns.
    public func cancel(consumerTag: String) async throws {
        guard self.consumers[consumerTag] != nil else { return }
        self.releaseFlow(consumerTag)
        _ = try await self.request(.basicCancel(consumerTag: consumerTag, noWait: false), reply: Method.ID(60, 31))
    }

    /// Asks the broker to deliver all that is unsettled anew.
    public func recover(requeue: Bool = true) async throws {
        self.unsettled.removeAll()
        _ = try await self.request(.basicRecover(requeue: requeue), reply: Method.ID(60, 111))
    }

    /// Takes one message from a queue, if there is one.
    public func get(queue: String, noAck: Bool = false) async throws -> Delivery? {
        let answer = try await self.answer(
            to: .basicGet(queue: queue, noAck: noAck),
            Method.ID(60, 71),
            Method.ID(60, 72)
        )
        guard case .basicGetOk(let tag, let redelivered, let exchange, let routingKey, _) = answer.method,
            let content = answer.content
        else { return nil }
        return Delivery(
            consumerTag: "",
            token: DeliveryToken(epoch: self.connection.epoch, channel: self.id, tag: tag),
            redelivered: redelivered,
            exchange: exchange,
            routingKey: routingKey,
            properties: content.properties,
            body: content.body
        )
    }

    // MARK: Settling

    /// Acknowledges a delivery, with `isMultiple` all unsettled ones up to it.
    /// - Returns: `false` if nothing was sent, since the delivery belongs to another connection or channel, or is settled: the broker would
    ///   close the channel for it.
    @discardableResult
    public func ack(_ token: DeliveryToken, isMultiple: Bool = false) -> Bool {
        guard self.settles(token, isMultiple: isMultiple) else { return false }
        self.write(.basicAck(deliveryTag: token.tag, isMultiple: isMultiple))
        return true
    }

    /// Refuses a delivery: it goes back to its queue, or is dropped or dead-lettered.
    @discardableResult
    public func reject(_ token: DeliveryToken, requeue: Bool) -> Bool {
        guard self.settles(token, isMultiple: false) else { return false }
        self.write(.basicReject(deliveryTag: token.tag, requeue: requeue))
        return true
    }

    /// As ``reject(_:requeue:)``, and with `isMultiple` for all unsettled deliveries up to this one (RabbitMQ's extension).
    @discardableResult
    public func nack(_ token: DeliveryToken, isMultiple: Bool = false, requeue: Bool) -> Bool {
        guard self.settles(token, isMultiple: isMultiple) else { return false }
        self.write(.basicNack(deliveryTag: token.tag, isMultiple: isMultiple, requeue: requeue))
        return true
    }

    private func settles(_ token: DeliveryToken, isMultiple: Bool) -> Bool {
        guard token.epoch == self.connection.epoch, token.channel == self.id, self.closeError == nil,
            self.unsettled.remove(token.tag) != nil
        else {
            self.staleSettlements += 1
            return false
        }
        if isMultiple { self.unsettled = self.unsettled.filter { $0 > token.tag } }
        return true
    }
}
