import AMQP
import NIOCore
import Synchronization
import Testing

@Suite(
    "RabbitMQ",
    .serialized,
    .timeLimit(.minutes(2)),
    .enabled(if: TestBroker.url != nil, "AMQP_TEST_URL is not set, so there is no RabbitMQ to test with")
)
struct RabbitMQTests {
    @Test("connects and closes")
    func connects() async throws {
        try await TestBroker.withConnection { connection in
            #expect(await connection.serverProperties["product"]?.string == "RabbitMQ")
            #expect(await connection.frameMax == 131_072)
            #expect(await connection.heartbeat == 60)
        }
    }

    @Test("AMQPLAIN as well")
    func amqplain() async throws {
        try await TestBroker.withConnection({ $0.endpoint.credentials.mechanism = .amqplain }) { connection in
            try await connection.withChannel { try await $0.qos(prefetchCount: 1) }
        }
    }

    @Test("a wrong password")
    func wrongPassword() async throws {
        let error = await #expect(throws: AMQPError.self) {
            try await TestBroker.withConnection({ $0.endpoint.credentials.password = "wrong" }) { _ in }
        }
        #expect(error?.code == .authenticationRefused)
        #expect(error?.reply?.replyCode == 403)
    }

    @Test("a virtual host that isn't there")
    func wrongVirtualHost() async throws {
        let error = await #expect(throws: AMQPError.self) {
            try await TestBroker.withConnection({ $0.endpoint.virtualHost = TestBroker.uniqueName() }) { _ in }
        }
        #expect(error?.code == .virtualHostRefused)
    }

    @Test("what is published comes back as it was", arguments: [0, 1, 4087, 4088, 4089, 8176, 8177, 131_064, 131_065])
    func roundTrip(_ size: Int) async throws {
        // Small frames, so that the smaller bodies have their limits tested as well.
        try await TestBroker.withQueue({ $0.frameMax = size > 10_000 ? 131_072 : 4096 }) { _, channel, queue in
            try await Self.exchange(size, channel, queue)
        }
    }

    @Test("a body of 5 MiB, and one of 100 MiB")
    func largeBodies() async throws {
        try await TestBroker.withQueue { _, channel, queue in
            try await Self.exchange(5 << 20, channel, queue)
            try await Self.exchange(100 << 20, channel, queue)
        }
    }

    private static func exchange(_ size: Int, _ channel: AMQPChannel, _ queue: String) async throws {
        try await channel.confirmSelect()
        var properties = BasicProperties(
            contentType: "application/json",
            contentEncoding: "utf-8",
            headers: [
                "text": .string("é"), "bytes": .longString(ByteBuffer(bytes: [0xFF])),
                "list": .array([.int64(-1), .void]),
                "table": .table(["nested": .double(1.5)]), "yes": .bool(true), "time": .timestamp(1_700_000_000),
            ],
            deliveryMode: 1,
            priority: 3,
            correlationID: "c",
            replyTo: "r",
            messageID: "m",
            timestamp: 1,
            type: "t",
            appID: "a"
        )
        properties.expiration = "600000"
        let body = ByteBuffer(repeating: 0x61, count: size)
        let message = Message(routingKey: queue, properties: properties, body: body)
        #expect(try await channel.publishConfirmed(message) == .acknowledged)
        let delivery = try #require(try await channel.get(queue: queue))
        #expect(delivery.body == body)
        #expect(delivery.properties == properties)
        #expect(delivery.routingKey == queue && delivery.exchange == "")
        #expect(await channel.ack(delivery.token))
        #expect(try await channel.get(queue: queue) == nil)
    }

    @Test("consumes, acknowledges, and rejects what comes again")
    func consumes() async throws {
        try await TestBroker.withQueue { _, channel, queue in
            try await channel.qos(prefetchCount: 5)
            let deliveries = try await channel.consume(queue: queue, buffer: 2)
            for number in 0..<200 {
                try await channel.publish(Message(routingKey: queue, body: ByteBuffer(string: "\(number)")))
            }
            var seen: [String] = []
            for try await delivery in deliveries {
                if String(buffer: delivery.body) == "7", !delivery.redelivered {
                    #expect(await channel.reject(delivery.token, requeue: true))
                    continue
                }
                seen.append(String(buffer: delivery.body))
                #expect(await channel.ack(delivery.token))
                if seen.count == 200 { break }
            }
            #expect(seen.compactMap { Int($0) }.sorted() == Array(0..<200))
            #expect(await channel.staleSettlements == 0)
        }
    }

    @Test("what a reader of few messages leaves goes back to the queue")
    func leaves() async throws {
        try await TestBroker.withQueue { _, channel, queue in
            try await channel.confirmSelect()
            for number in 0..<50 {
                _ = try await channel.publishConfirmed(
                    Message(routingKey: queue, body: ByteBuffer(string: "\(number)"))
                )
            }
            try await Self.takeThree(channel, queue)
            // The channel lives, and nothing is lost or stuck.
            while try await channel.declare(QueueDeclaration(name: queue, isPassive: true)).messageCount < 47 {
                await Task.yield()
            }
            #expect(try await channel.purge(queue) == 47)
        }
    }

    private static func takeThree(_ channel: AMQPChannel, _ queue: String) async throws {
        var count = 0
        for try await delivery in try await channel.consume(queue: queue, buffer: 4) {
            await channel.ack(delivery.token)
            count += 1
            if count == 3 { break }
        }
    }

    @Test("1000 confirmed messages at once")
    func confirmed() async throws {
        try await TestBroker.withQueue { _, channel, queue in
            try await channel.confirmSelect()
            try await withThrowingTaskGroup(of: PublishResult.self) { group in
                for number in 0..<1000 {
                    group.addTask {
                        try await channel.publishConfirmed(
                            Message(routingKey: queue, body: ByteBuffer(string: "\(number)"), isMandatory: true)
                        )
                    }
                }
                for try await result in group { #expect(result == .acknowledged) }
            }
            #expect(try await channel.declare(QueueDeclaration(name: queue, isPassive: true)).messageCount == 1000)
        }
    }

    @Test("a mandatory message without a queue comes back")
    func returned() async throws {
        try await TestBroker.withQueue { _, channel, queue in
            try await channel.confirmSelect()
            let lost = Message(routingKey: TestBroker.uniqueName(), body: ByteBuffer(string: "x"), isMandatory: true)
            async let routed = channel.publishConfirmed(
                Message(routingKey: queue, body: ByteBuffer(string: "x"), isMandatory: true)
            )
            guard case .returned(let message) = try await channel.publishConfirmed(lost) else {
                Issue.record("not returned")
                return
            }
            #expect(message.replyCode == 312)
            #expect(message.message == lost)
            #expect(try await routed == .acknowledged)
        }
    }

    @Test("the end of a queue ends its consumer")
    func queueDeleted() async throws {
        try await TestBroker.withQueue { _, channel, queue in
            let deliveries = try await channel.consume(queue: queue)
            try await channel.deleteQueue(queue)
            let error = await #expect(throws: AMQPError.self) { for try await _ in deliveries {} }
            #expect(error?.code == .consumerCancelled)
            try await channel.qos(prefetchCount: 1)
        }
    }

    @Test("a channel's errors leave the connection, and fail what is pending")
    func channelErrors() async throws {
        try await TestBroker.withQueue { connection, channel, queue in
            for (declaration, code) in [
                (QueueDeclaration(name: TestBroker.uniqueName(), isPassive: true), UInt16(404)),
                (QueueDeclaration(name: queue, durable: false, exclusive: true, autoDelete: true), 406),
            ] {
                let failing = try await connection.openChannel()
                async let pending: Void = failing.qos(prefetchCount: 1)
                async let failed = failing.declare(declaration)
                let error = await #expect(throws: AMQPError.self) { try await failing.closed() }
                #expect(error?.code == .channelClosedByBroker)
                #expect(error?.reply?.replyCode == code)
                #expect(error?.reply?.classID == 50)
                _ = try? await (pending, failed)
            }
            try await channel.qos(prefetchCount: 1)
        }
    }

    @Test("acknowledgements of a channel that has ended are not sent")
    func staleAck() async throws {
        try await TestBroker.withQueue { connection, channel, queue in
            try await channel.publish(Message(routingKey: queue, body: ByteBuffer(string: "x")))
            let first = try await connection.openChannel()
            let deliveries = try await first.consume(queue: queue)
            var iterator = deliveries.makeAsyncIterator()
            let delivery = try #require(try await iterator.next())
            try await first.close()
            let second = try await connection.openChannel()
            #expect(second.number == first.number)
            #expect(await !second.ack(delivery.token))
            #expect(await second.staleSettlements == 1)
            // The broker would have closed it for an unknown tag.
            try await second.qos(prefetchCount: 1)
            let again = try #require(try await second.get(queue: queue))
            #expect(again.redelivered)
        }
    }

    @Test("exchanges, bindings, deletes")
    func topology() async throws {
        try await TestBroker.withQueue { _, channel, queue in
            let (source, target) = (TestBroker.uniqueName(), TestBroker.uniqueName())
            let binding = BindingDeclaration(destination: .queue(queue), source: target, routingKey: "a.*")
            let between = BindingDeclaration(destination: .exchange(target), source: source, routingKey: "")
            try await channel.declare(
                Topology(
                    exchanges: [
                        ExchangeDeclaration(name: source, type: "fanout", durable: false, autoDelete: true),
                        ExchangeDeclaration(name: target, type: "topic", durable: false, isInternal: true),
                    ],
                    bindings: [binding, between]
                )
            )
            try await channel.confirmSelect()
            let message = Message(exchange: source, routingKey: "a.b", body: ByteBuffer(string: "x"), isMandatory: true)
            #expect(try await channel.publishConfirmed(message) == .acknowledged)
            let delivery = try #require(try await channel.get(queue: queue, noAck: true))
            #expect(delivery.exchange == source && delivery.routingKey == "a.b")
            try await channel.unbind(binding)
            guard case .returned = try await channel.publishConfirmed(message) else {
                Issue.record("still bound")
                return
            }
            try await channel.unbind(between)
            try await channel.deleteExchange(target)
        }
    }

    @Test("recover brings back what is unsettled")
    func recover() async throws {
        try await TestBroker.withQueue { _, channel, queue in
            try await channel.publish(Message(routingKey: queue, body: ByteBuffer(string: "x")))
            var first = try await channel.get(queue: queue)
            while first == nil { first = try await channel.get(queue: queue) }
            try await channel.recover()
            var second = try await channel.get(queue: queue)
            while second == nil { second = try await channel.get(queue: queue) }
            #expect(second?.redelivered == true)
            let token = try #require(first?.token)
            #expect(await !channel.ack(token), "its tag counts no more")
        }
    }

    @Test("a new secret")
    func updateSecret() async throws {
        try await TestBroker.withConnection { connection in
            try await connection.updateSecret(connection.configuration.endpoint.credentials.password, reason: "test")
            try await connection.withChannel { try await $0.qos(prefetchCount: 1) }
        }
    }

    @Test("a client comes back after its connection is lost, with another epoch")
    func recovers() async throws {
        let client = AMQPClient(
            configurations: [try TestBroker.configuration()],
            policy: RecoveryPolicy(initialDelay: 0.01, maximumDelay: 0.01),
            eventLoop: TestBroker.eventLoop,
            logger: TestBroker.logger
        )
        let epochs = Mutex<[UInt64]>([])
        try await client.run { connection in
            let count = epochs.withLock { epochs in
                epochs.append(connection.epoch)
                return epochs.count
            }
            if count == 3 { return }
            // RabbitMQ ends the whole connection for this (503).
            let channel = try await connection.openChannel()
            try await channel.declare(ExchangeDeclaration(name: TestBroker.uniqueName(), type: "no such type"))
        }
        #expect(Set(epochs.withLock { $0 }).count == 3)
    }
}
