import AMQP
import Celery
import JSON
import Logging

extension Mailbox {
    /// Where replies to the requests of `asker` come (`kombu/pidbox.py`, `Mailbox.get_reply_queue`).
    func replyQueue(_ asker: String) -> QueueDeclaration {
        var queue = self.queue
        queue.name = "\(asker).\(self.replyExchange)"
        return queue
    }
}

extension Worker {
    /// How long the first reply may take; a connection for the request may have to be made first.
    private static let firstReplyLimit = Duration.seconds(3)
    /// When so long none has come, all have answered: as long as Celery waits.
    private static let nextReplyLimit = Duration.seconds(1)

    /// Asks the neighbours for their clocks and revoked tasks, and tells them ours (`celery/worker/consumer/mingle.py`).
    ///
    /// Celery does so before it consumes. Here jobs are taken meanwhile: a revoke that only a neighbour knows counts from its reply on, and a task that waits is
    /// looked up again before it starts.
    func mingle() {
        guard self.configuration.mingles, let connection = self.session?.connection, let project else { return }
        self.background { await $0.mingle(over: connection, project) }
    }

    private func mingle(over connection: AMQPConnection, _ project: Project) async {
        let mailbox = Mailbox(nodeName: self.nodeName, project: project)
        self.neighboursMet = []
        do {
            // On a channel of its own: what the broker refuses here harms no job.
            try await connection.withChannel { @Sendable channel in
                try await self.askNeighbours(mailbox, on: channel)
            }
            guard !self.neighboursMet.isEmpty else { return }
            self.logger.info(
                "in sync with neighbours",
                metadata: [LogKeys.nodes: "\(self.neighboursMet.sorted().joined(separator: ","))"]
            )
        } catch {
            self.logger.debug("neighbours can't be asked", metadata: [LogKeys.error: "\(error)"])
        }
    }

    private func askNeighbours(_ mailbox: Mailbox, on channel: AMQPChannel) async throws {
        let asker = UniqueName.make()
        let ticket = UniqueName.make()
        let queue = mailbox.replyQueue(asker)
        try await channel.declare(
            Topology(
                exchanges: [ExchangeDeclaration(name: mailbox.replyExchange, type: "direct", durable: false)],
                queues: [queue],
                bindings: [
                    BindingDeclaration(
                        destination: .queue(queue.name),
                        source: mailbox.replyExchange,
                        routingKey: asker
                    )
                ]
            )
        )
        _ = try await channel.consume(
            queue: queue.name,
            noAck: true,
            onEvent: { event in
                guard case .delivery(let delivery) = event else { return }
                self.assumeIsolated { $0.helloReplied(delivery, ticket: ticket) }
            }
        )
        let fleet = try await self.fleetHello(on: channel)
        self.sendHello(to: mailbox, asker: asker, ticket: ticket, fleet)
        var count = 0
        try await Task.sleep(for: Self.firstReplyLimit)
        while self.neighboursMet.count > count {
            count = self.neighboursMet.count
            try await Task.sleep(for: Self.nextReplyLimit)
        }
    }

    private func fleetHello(on channel: AMQPChannel) async throws -> FleetHello? {
        guard let fleet = self.configuration.fleet, let queue = self.project?.queues.first else { return nil }
        let declared = try await channel.declare(QueueDeclaration(name: queue.name, isPassive: true))
        return FleetHello(fleet: fleet, consumers: Int(declared.consumerCount))
    }

    private func sendHello(to mailbox: Mailbox, asker: String, ticket: String, _ fleet: FleetHello?) {
        var headers = FieldTable()
        headers.append("clock", .int64(self.clock.forward()))
        headers.append("expires", .double(self.wallClock() + Double(Self.firstReplyLimit.components.seconds)))
        var arguments: JSONObject = ["from_node": .string(self.nodeName)]
        arguments["revoked"] = fleet == nil ? self.revokedForNeighbours : [:]
        for (name, value) in fleet?.arguments ?? [:] { arguments[name] = value }
        let request: JSON = [
            "method": "hello",
            "arguments": .object(arguments),
            "destination": .null,
            "pattern": .null,
            "matcher": .null,
            "ticket": .string(ticket),
            "reply_to": ["exchange": .string(mailbox.replyExchange), "routing_key": .string(asker)],
        ]
        let message = Message(
            exchange: mailbox.exchange,
            routingKey: "",
            properties: BasicProperties(
                contentType: "application/json",
                contentEncoding: "utf-8",
                headers: headers,
                deliveryMode: 2,
                priority: 0
            ),
            body: request.encoded
        )
        self.publisher.assumeIsolated { $0.publish(message) }
    }

    private func helloReplied(_ delivery: Delivery, ticket: String) {
        let headers = delivery.properties.headers
        self.clock.adjust(to: headers?["clock"]?.int ?? 0)
        guard headers?["ticket"]?.string == ticket else { return }
        do {
            for reply in try HelloReply.list(delivery.body) where reply.node != self.nodeName {
                if let clock = reply.clock { self.clock.adjust(to: clock) } else { self.clock.forward() }
                self.learnRevoked(reply.revoked)
                self.neighboursMet.insert(reply.node)
            }
        } catch {
            self.logger.error("received a reply that can't be read", metadata: [LogKeys.error: "\(error)"])
        }
    }
}
