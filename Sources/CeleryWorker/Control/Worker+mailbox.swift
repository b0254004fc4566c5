import AMQP
import Celery
import JSON
import Logging
import NIOCore
import PythonPool

/// The names and arguments of remote control's exchanges and queues (`kombu/pidbox.py`, `Mailbox`; `celery/app/control.py`, `Control.__init__`).
struct Mailbox: Sendable {
    var exchange: String
    var replyExchange: String
    var queue: QueueDeclaration

    init(nodeName: String, project: Project) {
        let namespace = project.setting("control_exchange")?.string ?? "celery"
        self.exchange = "\(namespace).pidbox"
        self.replyExchange = "reply.\(namespace).pidbox"
        let isDurable = project.setting("control_queue_durable")?.bool ?? false
        var arguments = FieldTable()
        if let expires = project.setting("control_queue_expires")?.double {
            arguments.append("x-expires", FieldValue(.int(Int64(expires * 1000))))
        }
        if let ttl = project.setting("control_queue_ttl")?.double {
            arguments.append("x-message-ttl", FieldValue(.int(Int64(ttl * 1000))))
        }
        self.queue = QueueDeclaration(
            name: "\(nodeName).\(namespace).pidbox",
            durable: isDurable,
            exclusive: project.setting("control_queue_exclusive")?.bool ?? false,
            autoDelete: !isDurable,
            arguments: arguments
        )
    }
}

extension Worker {
    /// Declares this node's mailbox and listens to it.
    func openMailbox(on channel: AMQPChannel) async throws {
        guard let project, self.settings?.hasRemoteControl == true else { return }
        let mailbox = Mailbox(nodeName: self.nodeName, project: project)
        try await channel.declare(ExchangeDeclaration(name: mailbox.exchange, type: "fanout", durable: false))
        let declared = try await channel.declare(mailbox.queue)
        if declared.consumerCount > 0 {
            self.logger.warning(
                "another worker has this node's name: give each its own with -n",
                metadata: [LogKeys.node: "\(self.nodeName)"]
            )
        }
        try await channel.bind(
            BindingDeclaration(destination: .queue(mailbox.queue.name), source: mailbox.exchange, routingKey: "")
        )
        _ = try await channel.consume(
            queue: mailbox.queue.name,
            noAck: true,
            onEvent: { event in
                guard case .delivery(let delivery) = event else { return }
                self.assumeIsolated { $0.controlReceived(delivery) }
            }
        )
    }

    /// A broadcast of `celery inspect` or `celery control` has come. Called on the event loop.
    private func controlReceived(_ delivery: Delivery) {
        self.clock.forward()
        let request: ControlRequest
        do throws(ControlRequest.Problem) {
            guard delivery.properties.contentType == "application/json" else {
                throw ControlRequest.Problem(
                    description:
                        "content type '\(delivery.properties.contentType ?? "")', where application/json was expected"
                )
            }
            request = try ControlRequest(parsing: delivery.body)
        } catch {
            self.logger.error("received a control message that is no request", metadata: [LogKeys.error: "\(error)"])
            return
        }
        if let clock = delivery.properties.headers?["clock"]?.int { self.clock.adjust(to: clock) }
        guard self.isMeant(request) else { return }
        self.logger.debug("control request", metadata: [LogKeys.method: "\(request.method)"])
        self.handle(request)
    }

    private func isMeant(_ request: ControlRequest) -> Bool {
        if !request.destination.isEmpty { return request.destination.contains(self.nodeName) }
        guard let pattern = request.pattern, let matcher = request.matcher else { return true }
        return NodePattern(pattern: pattern, matcher: matcher).matches(self.nodeName)
    }

    private func handle(_ request: ControlRequest) {
        switch self.answer(request) {
        case .reply(let value): self.reply(value, to: request)
        case .silence: break
        case .askPython:
            self.background { worker in
                let value: JSON
                do {
                    let arguments: JSON = ["method": .string(request.method), "arguments": .object(request.arguments)]
                    let reply = try await worker.pool.call("control", arguments.encoded, deadline: Self.pythonCallLimit)
                    value = try JSON(parsing: reply)
                } catch {
                    value = ["error": .string("\(error)")]
                }
                worker.reply(value, to: request)
            }
        }
    }

    /// (`kombu/pidbox.py`, `Mailbox._publish_reply`)
    private func reply(_ value: JSON, to request: ControlRequest) {
        guard let address = request.replyTo else { return }
        var headers = FieldTable()
        headers.append("ticket", FieldValue(request.ticket))
        headers.append("clock", .int64(self.clock.forward()))
        let message = Message(
            exchange: address.exchange,
            routingKey: address.routingKey,
            properties: BasicProperties(
                contentType: "application/json",
                contentEncoding: "utf-8",
                headers: headers,
                deliveryMode: 1,
                priority: 0
            ),
            body: JSON.object([self.nodeName: value]).encoded
        )
        self.publisher.assumeIsolated { $0.publish(message) }
    }
}
