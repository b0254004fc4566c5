public import AMQP
public import Celery
import JSON

/// RabbitMQ as the keeper of messages that are due later: what Celery's clients expect of the broker where a project has quorum queues
/// (`kombu/transport/native_delayed_delivery.py`; the names and arguments are the wire's).
///
/// A client writes the delay in seconds as 28 bits before the routing key, each a word of its own, and publishes to the exchange of the
/// highest bit. Each level keeps a message for its power of two where the bit is 1, and hands it down; below the last one, the
/// delivery exchange finds the task's own exchange by the rest of the key.
public enum DelayedDelivery {
    /// A delay of 28 bits: eight and a half years.
    static let levelCount = 28
    /// Where messages are due: bound to the tasks' exchanges.
    static let deliveryExchange = "celery_delayed_delivery"

    /// The kinds of queue that may keep the messages (`broker_native_delayed_delivery_queue_type`).
    public enum QueueType: String, Sendable, CaseIterable {
        case classic
        case quorum
    }

    /// The exchange and the queue of one level have the same name.
    static func name(level: Int) -> String { "celery_delayed_\(level)" }

    /// The levels, and the ways between them.
    public static func levels(_ type: QueueType) -> Topology {
        var topology = Topology()
        for level in (0..<self.levelCount).reversed() {
            let name = self.name(level: level)
            let next = level > 0 ? self.name(level: level - 1) : self.deliveryExchange
            // The words of the levels above come first.
            let prefix = String(repeating: "*.", count: self.levelCount - 1 - level)
            topology.exchanges.append(ExchangeDeclaration(name: name, type: "topic"))
            topology.queues.append(
                QueueDeclaration(name: name, arguments: self.arguments(type, level: level, next: next))
            )
            topology.bindings.append(
                BindingDeclaration(destination: .queue(name), source: name, routingKey: "\(prefix)1.#")
            )
            topology.bindings.append(
                BindingDeclaration(destination: .exchange(next), source: name, routingKey: "\(prefix)0.#")
            )
        }
        topology.exchanges.append(ExchangeDeclaration(name: self.deliveryExchange, type: "topic"))
        return topology
    }

    private static func arguments(_ type: QueueType, level: Int, next: String) -> FieldTable {
        var arguments: FieldTable = [
            "x-queue-type": .string(type.rawValue),
            "x-overflow": .string("reject-publish"),
            "x-message-ttl": FieldValue(.int(1000 << Int64(level))),
            "x-dead-letter-exchange": .string(next),
        ]
        // Classic queues know no other strategy than "at most once".
        if type == .quorum { arguments.append("x-dead-letter-strategy", .string("at-least-once")) }
        return arguments
    }

    /// The ways from the delivery exchange to a queue, and the names of the exchanges that can't have one: a direct exchange compares whole
    /// routing keys, and those of delayed messages begin with the delay.
    public static func bindings(of queue: QueueSpecification) -> (bindings: [BindingDeclaration], direct: [String]) {
        var bindings: [BindingDeclaration] = []
        var direct: [String] = []
        for binding in queue.bindings {
            guard let exchange = binding.exchange else { continue }
            guard exchange.type != "direct" else {
                direct.append(exchange.name)
                continue
            }
            let key = binding.routingKey.hasPrefix("#") ? binding.routingKey : "#.\(binding.routingKey)"
            bindings.append(
                BindingDeclaration(
                    destination: .exchange(exchange.name),
                    source: self.deliveryExchange,
                    routingKey: key
                )
            )
            bindings.append(
                BindingDeclaration(destination: .queue(queue.name), source: exchange.name, routingKey: key)
            )
        }
        return (bindings, direct)
    }
}

extension QueueSpecification {
    /// (`celery/utils/quorum_queues.py`)
    public var isQuorum: Bool { self.queueArguments["x-queue-type"] == "quorum" }
}
