import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import AMQP

@Suite("Channel, with a scripted broker", .timeLimit(.minutes(1)))
struct ChannelTests {
    @Test("requests of many tasks each get their own answer, one at a time")
    func concurrentRequests() async throws {
        try await ScriptedBroker.connected { broker, connection in
            let channel = try await connection.openChannel()
            let answered = try await withThrowingTaskGroup(of: Bool.self) { group in
                for index in 0..<1000 {
                    group.addTask {
                        try await channel.declare(QueueDeclaration(name: "q\(index)")).name == "q\(index)"
                    }
                }
                return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(answered == 1000)
        }
    }

    @Test("a cancelled waiter leaves its request in its place, and the others their answers")
    func cancelledWaiter() async throws {
        let held = NIOLockedValueBox<ScriptedBroker.Peer?>(nil)
        let script: ScriptedBroker.Script = { frame, peer in
            guard case .method(_, .basicQos) = frame else { return false }
            held.withLockedValue { $0 = peer }
            return true
        }
        try await ScriptedBroker.connected(script: script) { broker, connection in
            let channel = try await connection.openChannel()
            let cancelled = Task { try await channel.qos(prefetchCount: 1) }
            await broker.until { $0.methods.contains { $0.id == Method.ID(60, 10) } }
            async let behind = channel.declare(QueueDeclaration(name: "behind"))
            cancelled.cancel()
            await #expect(throws: CancellationError.self) { try await cancelled.value }
            #expect(!broker.methods.contains { $0.id == Method.ID(50, 10) }, "one request is with the broker at a time")
            held.withLockedValue { $0 }?.send([.method(channel: 1, .basicQosOk)])
            #expect(try await behind.name == "behind")
        }
    }

    @Test("a wrong answer ends the connection and all who wait")
    func wrongAnswer() async throws {
        let script: ScriptedBroker.Script = { frame, peer in
            guard case .method(let channel, .basicQos) = frame else { return false }
            peer.send([.method(channel: channel, .confirmSelectOk)])
            return true
        }
        try await ScriptedBroker.connected(script: script) { _, connection in
            let channel = try await connection.openChannel()
            let error = await #expect(throws: AMQPError.self) { try await channel.qos(prefetchCount: 1) }
            #expect(error?.code == .protocolViolation)
            #expect(await connection.hasEnded)
        }
    }

    @Test("a channel closed by the broker fails all that is pending, with its reason, and the connection lives")
    func closedByBroker() async throws {
        let reason = CloseReason(replyCode: 404, replyText: "NOT_FOUND", classID: 50, methodID: 10)
        try await ScriptedBroker.connected(script: { ConnectionTests.isDeclare($0, $1) }) { broker, connection in
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            async let first = Self.error { try await channel.declare(QueueDeclaration(name: "a")) }
            async let second = Self.error { try await channel.qos(prefetchCount: 1) }
            async let confirm = Self.error { try await channel.publishConfirmed(Self.message) }
            async let closed = Self.error { try await channel.closed() }
            await broker.until { frames in
                frames.methods.contains { $0.id == Method.ID(50, 10) || $0.id == Method.ID(60, 10) }
                    && frames.methods.contains { $0.id == Method.ID(60, 40) }
            }
            broker.send(.method(channel: 1, .channelClose(reason)))
            for error in await [first, second, confirm, closed] {
                #expect(error?.code == .channelClosedByBroker)
                #expect(error?.reply == reason)
            }
            await broker.until { $0.methods.contains(.channelCloseOk) }
            let again = try await connection.openChannel()
            try await again.qos(prefetchCount: 1)
        }
    }

    @Test("closes that cross each other end the channel only")
    func crossingCloses() async throws {
        let reason = CloseReason(replyCode: 406, replyText: "PRECONDITION_FAILED", classID: 60, methodID: 80)
        let script: ScriptedBroker.Script = { frame, peer in
            guard case .method(let channel, .channelClose) = frame else { return false }
            peer.send([.method(channel: channel, .channelClose(reason)), .method(channel: channel, .channelCloseOk)])
            return true
        }
        try await ScriptedBroker.connected(script: script) { broker, connection in
            let channel = try await connection.openChannel()
            let error = await #expect(throws: AMQPError.self) { try await channel.close() }
            #expect(error?.reply == reason)
            let again = try await connection.openChannel()
            #expect(again.number == channel.number)
            #expect(await !connection.hasEnded)
        }
    }

    @Test("a cancelled close still ends the channel, its consumers and its waiters")
    func cancelledClose() async throws {
        let held = NIOLockedValueBox<ScriptedBroker.Peer?>(nil)
        let script: ScriptedBroker.Script = { frame, peer in
            guard case .method(_, .channelClose) = frame else { return false }
            held.withLockedValue { $0 = peer }
            return true
        }
        try await ScriptedBroker.connected(script: script) { broker, connection in
            let channel = try await connection.openChannel()
            let (ends, continuation) = AsyncStream.makeStream(of: AMQPError.Code.self)
            _ = try await channel.consume(queue: "q") { event in
                if case .closed(let error) = event { continuation.yield(error.code) }
            }
            let closing = Task { try await channel.close() }
            await broker.until { $0.methods.contains { $0.id == Method.ID(20, 40) } }
            closing.cancel()
            await #expect(throws: CancellationError.self) { try await closing.value }
            async let another: Void = channel.close()
            async let closed: Void = channel.closed()
            held.withLockedValue { $0 }?.send([.method(channel: 1, .channelCloseOk)])
            _ = try await (another, closed)
            for await code in ends {
                #expect(code == .closed)
                break
            }
            #expect(broker.methods.count { $0.id == Method.ID(20, 40) } == 1)
        }
    }

    @Test("an abandoned channel's number is free once the broker has answered, and late frames do no harm")
    func abandoned() async throws {
        struct Failure: Error {}
        let script: ScriptedBroker.Script = { frame, peer in
            if case .method(1, .channelClose) = frame { peer.send(deliveryFrames(1, consumer: "c")) }
            return false
        }
        try await ScriptedBroker.connected(script: script) { broker, connection in
            await #expect(throws: Failure.self) {
                try await connection.withChannel { channel in
                    _ = try await channel.consume(queue: "q", consumerTag: "c") { _ in }
                    throw Failure()
                }
            }
            let channel = try await connection.openChannel()
            try await channel.qos(prefetchCount: 1)
            #expect(await !connection.hasEnded)
        }
    }

    // MARK: Consuming and settling

    @Test("acknowledgements of other connections, channels, or of what is settled are not sent but counted")
    func staleSettlements() async throws {
        try await ScriptedBroker.connected { broker, connection in
            let channel = try await connection.openChannel()
            let (deliveries, continuation) = AsyncStream.makeStream(of: Delivery.self)
            let tag = try await channel.consume(queue: "q") { event in
                if case .delivery(let delivery) = event { continuation.yield(delivery) }
            }
            for number in 1...5 { for frame in deliveryFrames(UInt64(number), consumer: tag) { broker.send(frame) } }
            var tokens: [DeliveryToken] = []
            for await delivery in deliveries {
                #expect(delivery.body == ByteBuffer(string: "body"))
                tokens.append(delivery.token)
                if tokens.count == 5 { break }
            }
            var otherConnection = tokens[0]
            otherConnection.epoch += 1
            var otherChannel = tokens[0]
            otherChannel.channel += 1
            var unknown = tokens[0]
            unknown.tag = 99
            for token in [otherConnection, otherChannel, unknown] { #expect(await !channel.ack(token)) }
            #expect(await channel.ack(tokens[0]))
            #expect(await !channel.ack(tokens[0]), "twice")
            #expect(await channel.ack(tokens[2], isMultiple: true))
            #expect(await !channel.reject(tokens[1], requeue: true), "settled with the third")
            #expect(await channel.nack(tokens[3], requeue: true))
            #expect(await channel.reject(tokens[4], requeue: false))
            #expect(await channel.staleSettlements == 5)
            try await channel.close()
            let settlements = broker.methods.filter { [80, 90, 120].contains($0.id.methodID) }
            #expect(
                settlements == [
                    .basicAck(deliveryTag: 1, isMultiple: false), .basicAck(deliveryTag: 3, isMultiple: true),
                    .basicNack(deliveryTag: 4, isMultiple: false, requeue: true),
                    .basicReject(deliveryTag: 5, requeue: false),
                ]
            )
            #expect(await !channel.ack(tokens[4]), "after the end")
        }
    }

    @Test("a consumer that the broker ends is told")
    func cancelledByBroker() async throws {
        try await ScriptedBroker.connected { broker, connection in
            let channel = try await connection.openChannel()
            let (events, continuation) = AsyncStream.makeStream(of: String.self)
            let tag = try await channel.consume(queue: "q") { event in
                if case .cancelledByBroker(let tag) = event { continuation.yield(tag) }
            }
            broker.send(.method(channel: 1, .basicCancel(consumerTag: tag, noWait: true)))
            var iterator = events.makeAsyncIterator()
            #expect(await iterator.next() == tag)
            try await channel.cancel(consumerTag: tag)
            #expect(!broker.methods.contains { $0.id == Method.ID(60, 30) }, "nothing to cancel any more")
        }
    }

    @Test("a consumer whose start was cancelled is ended, and what came meanwhile goes back", arguments: [true, false])
    func cancelledConsume(_ noAck: Bool) async throws {
        let held = NIOLockedValueBox<ScriptedBroker.Peer?>(nil)
        let script: ScriptedBroker.Script = { frame, peer in
            guard case .method(_, .basicConsume) = frame else { return false }
            held.withLockedValue { $0 = peer }
            return true
        }
        try await ScriptedBroker.connected(script: script) { broker, connection in
            let channel = try await connection.openChannel()
            let consuming = Task {
                _ = try await channel.consume(queue: "q", consumerTag: "c", noAck: noAck) { _ in }
            }
            await broker.until { $0.methods.contains { $0.id == Method.ID(60, 20) } }
            consuming.cancel()
            await #expect(throws: CancellationError.self) { try await consuming.value }
            held.withLockedValue { $0 }?
                .send([.method(channel: 1, .basicConsumeOk(consumerTag: "c"))] + deliveryFrames(1, consumer: "c"))
            // The first may have gone before what is looked for.
            for _ in 0..<2 { try await channel.qos(prefetchCount: 1) }
            #expect(broker.methods.contains(.basicCancel(consumerTag: "c", noWait: true)))
            #expect(broker.methods.contains(.basicReject(deliveryTag: 1, requeue: true)) == !noAck)
        }
    }

    @Test("a message that a cancelled get took goes back to its queue")
    func cancelledGet() async throws {
        let held = NIOLockedValueBox<ScriptedBroker.Peer?>(nil)
        let script: ScriptedBroker.Script = { frame, peer in
            guard case .method(_, .basicGet) = frame else { return false }
            held.withLockedValue { $0 = peer }
            return true
        }
        let got = Method.basicGetOk(deliveryTag: 7, redelivered: false, exchange: "", routingKey: "q", messageCount: 0)
        let header = Frame.ContentHeader(bodySize: 0, properties: BasicProperties())
        try await ScriptedBroker.connected(script: script) { broker, connection in
            let channel = try await connection.openChannel()
            let getting = Task { try await channel.get(queue: "q") }
            await broker.until { $0.methods.contains { $0.id == Method.ID(60, 70) } }
            getting.cancel()
            await #expect(throws: CancellationError.self) { _ = try await getting.value }
            held.withLockedValue { $0 }?.send([.method(channel: 1, got), .header(channel: 1, header)])
            for _ in 0..<2 { try await channel.qos(prefetchCount: 1) }
            #expect(broker.methods.contains(.basicReject(deliveryTag: 7, requeue: true)))
        }
    }

    // MARK: Helpers

    static let message = Message(routingKey: "q", body: ByteBuffer(string: "m"))

    static func error<Result>(_ body: () async throws -> Result) async -> AMQPError? {
        do {
            _ = try await body()
            return nil
        } catch {
            return error as? AMQPError
        }
    }
}
