import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import AMQP

@Suite("Deliveries by demand, with a scripted broker", .timeLimit(.minutes(1)))
struct DeliveriesTests {
    @Test("all come, in order, and can be acknowledged")
    func inOrder() async throws {
        try await ScriptedBroker.connected { broker, connection in
            let channel = try await connection.openChannel()
            let deliveries = try await channel.consume(queue: "q", buffer: 4)
            for tag in 1...500 { broker.send(deliveryFrames(UInt64(tag), consumer: deliveries.consumerTag)) }
            var expected: UInt64 = 1
            for try await delivery in deliveries {
                #expect(delivery.deliveryTag == expected)
                #expect(await channel.ack(delivery.token))
                // An answer is read even while the sequence holds up reading.
                if expected.isMultiple(of: 100) { try await channel.qos(prefetchCount: 1) }
                expected += 1
                if expected > 500 { break }
            }
            try await channel.close()
            #expect(broker.methods.count { $0.id == Method.ID(60, 80) } == 500)
        }
    }

    @Test("nothing more is read while too many wait, heartbeats go on, and reading goes on when they are taken")
    func backPressure() async throws {
        let tune = Method.Tune(channelMax: 1, frameMax: 4096, heartbeat: 1)
        try await ScriptedBroker.connected(tune: tune) { broker, connection in
            let channel = try await connection.openChannel()
            let deliveries = try await channel.consume(queue: "q", buffer: 2)
            for tag in 1...3 { broker.send(deliveryFrames(UInt64(tag), consumer: deliveries.consumerTag)) }
            // Three heartbeats take longer than the two intervals after which a broker would be given up.
            await broker.until { $0.heartbeats >= 6 }
            #expect(await !connection.flow.isReading)
            #expect(await !connection.hasEnded)
            var iterator = deliveries.makeAsyncIterator()
            for tag in 1...3 { #expect(try await iterator.next()?.deliveryTag == UInt64(tag)) }
            broker.send(deliveryFrames(4, consumer: deliveries.consumerTag))
            #expect(try await iterator.next()?.deliveryTag == 4)
        }
    }

    @Test("leaving the iteration ends the consumer, and what was not taken goes back")
    func left() async throws {
        try await ScriptedBroker.connected { broker, connection in
            let channel = try await connection.openChannel()
            try await Self.takeOne(broker, channel)
            await broker.until { $0.methods.contains(.basicReject(deliveryTag: 3, requeue: true)) }
            #expect(broker.methods.contains(.basicCancel(consumerTag: "c", noWait: true)))
            #expect(broker.methods.contains(.basicReject(deliveryTag: 2, requeue: true)))
            #expect(!broker.methods.contains(.basicReject(deliveryTag: 1, requeue: true)), "it was taken")
            // What comes late goes back too.
            broker.send(deliveryFrames(4, consumer: "c"))
            await broker.until { $0.methods.contains(.basicReject(deliveryTag: 4, requeue: true)) }
            #expect(await connection.flow.isReading)
        }
    }

    private static func takeOne(_ broker: ScriptedBroker, _ channel: AMQPChannel) async throws {
        let deliveries = try await channel.consume(queue: "q", consumerTag: "c", buffer: 2)
        broker.send((1...3).flatMap { deliveryFrames($0, consumer: "c") })
        for try await delivery in deliveries where delivery.deliveryTag == 1 { break }
    }

    @Test("cancelling the iterating task ends the consumer")
    func cancelledTask() async throws {
        try await ScriptedBroker.connected { broker, connection in
            let channel = try await connection.openChannel()
            let task = Task {
                for try await _ in try await channel.consume(queue: "q", consumerTag: "c", buffer: 2) {}
            }
            await broker.until { $0.methods.contains { $0.id == Method.ID(60, 20) } }
            task.cancel()
            _ = await task.result
            await broker.until { $0.methods.contains(.basicCancel(consumerTag: "c", noWait: true)) }
            try await channel.qos(prefetchCount: 1)
        }
    }

    @Test("after a cancel, what has come is given out, then it ends, even when reading was held up")
    func cancelled() async throws {
        try await ScriptedBroker.connected { broker, connection in
            let channel = try await connection.openChannel()
            let deliveries = try await channel.consume(queue: "q", buffer: 2)
            broker.send((1...3).flatMap { deliveryFrames($0, consumer: deliveries.consumerTag) })
            while await connection.flow.pauses == 0 { await Task.yield() }
            try await channel.cancel(consumerTag: deliveries.consumerTag)
            var tags: [UInt64] = []
            for try await delivery in deliveries { tags.append(delivery.deliveryTag) }
            #expect(tags == [1, 2, 3])
            #expect(await connection.flow.pauses == 0)
        }
    }

    @Test("the broker's end of the consumer, and the end of the channel and of the connection, are thrown")
    func ends() async throws {
        let reason = CloseReason(replyCode: 404, replyText: "x")
        for (frame, code) in [
            (.method(channel: 1, .basicCancel(consumerTag: "c", noWait: true)), .consumerCancelled),
            (.method(channel: 1, .channelClose(reason)), .channelClosedByBroker),
            (.method(channel: 0, .connectionClose(reason)), .connectionClosedByBroker),
        ] as [(Frame, AMQPError.Code)] {
            try await ScriptedBroker.connected { broker, connection in
                let channel = try await connection.openChannel()
                let deliveries = try await channel.consume(queue: "q", consumerTag: "c")
                broker.send(deliveryFrames(1, consumer: "c") + [frame])
                let tags = NIOLockedValueBox<[UInt64]>([])
                let error = await ChannelTests.error {
                    for try await delivery in deliveries { tags.withLockedValue { $0.append(delivery.deliveryTag) } }
                }
                #expect(tags.withLockedValue { $0 } == [1], "what has come is given out first")
                #expect(error?.code == code)
            }
        }
    }

    @Test("closing the channel while reading is held up ends the sequence")
    func closedWhileHeldUp() async throws {
        try await ScriptedBroker.connected { broker, connection in
            let channel = try await connection.openChannel()
            let deliveries = try await channel.consume(queue: "q", buffer: 1)
            broker.send((1...3).flatMap { deliveryFrames($0, consumer: deliveries.consumerTag) })
            while await connection.flow.pauses == 0 { await Task.yield() }
            try await channel.close()
            var count = 0
            for try await _ in deliveries { count += 1 }
            #expect(count == 3)
        }
    }
}
