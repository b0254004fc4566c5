import AMQP
import Celery
import JSON
import Testing

@testable import CeleryWorker

@Suite("Native delayed delivery")
struct DelayedDeliveryTests {
    private static func queue(_ bindings: JSON...) throws -> QueueSpecification {
        try QueueSpecification(manifest: [
            "name": "q", "queue_arguments": ["x-queue-type": "quorum"], "bindings": .array(bindings),
        ])
    }

    private static func binding(_ exchange: String, _ type: String, _ key: String) -> JSON {
        ["exchange": ["name": .string(exchange), "type": .string(type)], "routing_key": .string(key)]
    }

    @Test func `each level keeps a message for its power of two, then hands it down`() {
        let topology = DelayedDelivery.levels(.quorum)
        #expect(topology.queues.map(\.name) == (0...27).reversed().map { "celery_delayed_\($0)" })
        #expect(topology.exchanges.map(\.name) == topology.queues.map(\.name) + ["celery_delayed_delivery"])
        #expect(topology.exchanges.allSatisfy { $0.type == "topic" && $0.durable && !$0.autoDelete })
        for (queue, level) in zip(topology.queues, (0...27).reversed()) {
            #expect(
                queue
                    == QueueDeclaration(
                        name: "celery_delayed_\(level)",
                        arguments: [
                            "x-queue-type": .string("quorum"),
                            "x-overflow": .string("reject-publish"),
                            "x-message-ttl": FieldValue(.int(Int64(1 << level) * 1000)),
                            "x-dead-letter-exchange": .string(
                                level == 0 ? "celery_delayed_delivery" : "celery_delayed_\(level - 1)"
                            ),
                            "x-dead-letter-strategy": .string("at-least-once"),
                        ]
                    )
            )
        }
    }

    @Test func `a level is chosen by its own bit of the delay`() {
        let bindings = DelayedDelivery.levels(.quorum).bindings
        #expect(bindings.count == 2 * 28)
        #expect(
            bindings.prefix(3) == [
                BindingDeclaration(
                    destination: .queue("celery_delayed_27"),
                    source: "celery_delayed_27",
                    routingKey: "1.#"
                ),
                BindingDeclaration(
                    destination: .exchange("celery_delayed_26"),
                    source: "celery_delayed_27",
                    routingKey: "0.#"
                ),
                BindingDeclaration(
                    destination: .queue("celery_delayed_26"),
                    source: "celery_delayed_26",
                    routingKey: "*.1.#"
                ),
            ]
        )
        let stars = String(repeating: "*.", count: 27)
        #expect(
            bindings.suffix(2) == [
                BindingDeclaration(
                    destination: .queue("celery_delayed_0"),
                    source: "celery_delayed_0",
                    routingKey: "\(stars)1.#"
                ),
                BindingDeclaration(
                    destination: .exchange("celery_delayed_delivery"),
                    source: "celery_delayed_0",
                    routingKey: "\(stars)0.#"
                ),
            ]
        )
    }

    @Test func `classic queues have no dead-letter strategy`() {
        let queues = DelayedDelivery.levels(.classic).queues
        #expect(queues.allSatisfy { $0.arguments["x-queue-type"] == .string("classic") })
        #expect(queues.allSatisfy { $0.arguments["x-dead-letter-strategy"] == nil })
    }

    @Test func `what is due finds its exchange by the rest of its routing key`() throws {
        let queue = try Self.queue(Self.binding("e", "topic", "k"), Self.binding("f", "fanout", "#.any"))
        let (bindings, direct) = DelayedDelivery.bindings(of: queue)
        #expect(direct.isEmpty)
        #expect(
            bindings == [
                BindingDeclaration(
                    destination: .exchange("e"),
                    source: "celery_delayed_delivery",
                    routingKey: "#.k"
                ),
                BindingDeclaration(destination: .queue("q"), source: "e", routingKey: "#.k"),
                BindingDeclaration(
                    destination: .exchange("f"),
                    source: "celery_delayed_delivery",
                    routingKey: "#.any"
                ),
                BindingDeclaration(destination: .queue("q"), source: "f", routingKey: "#.any"),
            ]
        )
    }

    @Test func `a direct exchange has no way from the delays`() throws {
        let queue = try Self.queue(Self.binding("d", "direct", "k"), Self.binding("e", "topic", "k"))
        let (bindings, direct) = DelayedDelivery.bindings(of: queue)
        #expect(direct == ["d"])
        #expect(bindings.map(\.routingKey) == ["#.k", "#.k"])
    }

    @Test func `a queue's type is what its arguments say`() throws {
        #expect(try Self.queue().isQuorum)
        #expect(try !QueueSpecification(manifest: ["name": "q"]).isQuorum)
        #expect(
            try !QueueSpecification(manifest: ["name": "q", "queue_arguments": ["x-queue-type": "classic"]]).isQuorum
        )
    }
}
