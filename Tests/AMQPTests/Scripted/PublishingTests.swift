import NIOCore
import Synchronization
import Testing

@testable import AMQP

@Suite("Publishing, with a scripted broker", .timeLimit(.minutes(1)))
struct PublishingTests {
    /// Confirms as RabbitMQ does: some singly, some together.
    private static func confirming(_ every: UInt64) -> ScriptedBroker.Script {
        let published = SendableCounter()
        return { frame, peer in
            guard case .method(let channel, .basicPublish) = frame else { return false }
            let tag = published.next()
            if tag % every == 0 {
                peer.send([.method(channel: channel, .basicAck(deliveryTag: tag, isMultiple: true))])
            }
            return true
        }
    }

    @Test("1000 at once, with few allowed to be outstanding, each come out once", arguments: [1, 7, 1000])
    func concurrent(_ limit: Int) async throws {
        try await ScriptedBroker.connected(script: Self.confirming(1)) { broker, connection in
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            await channel.limitOutstanding(limit)
            let results = try await withThrowingTaskGroup(of: PublishResult.self) { group in
                for _ in 0..<1000 { group.addTask { try await channel.publishConfirmed(ChannelTests.message) } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(results.count == 1000)
            #expect(results.allSatisfy { $0 == .acknowledged })
            #expect(await connection.flow.demands == 0)
        }
    }

    @Test("an ack of many resumes all up to it")
    func multiple() async throws {
        try await ScriptedBroker.connected(script: Self.confirming(100)) { broker, connection in
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            let count = try await withThrowingTaskGroup(of: PublishResult.self) { group in
                for _ in 0..<300 { group.addTask { try await channel.publishConfirmed(ChannelTests.message) } }
                return try await group.reduce(into: 0) { $0 += $1 == .acknowledged ? 1 : 0 }
            }
            #expect(count == 300)
        }
    }

    @Test("a cancelled wait gives its room to another")
    func cancelledRoom() async throws {
        try await ScriptedBroker.connected { broker, connection in
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            await channel.limitOutstanding(1)
            async let first = channel.publishConfirmed(ChannelTests.message)
            await broker.until { $0.methods.contains { $0.id == Method.ID(60, 40) } }
            let cancelled = (0..<20).map { _ in Task { try await channel.publishConfirmed(ChannelTests.message) } }
            let last = Task { try await channel.publishConfirmed(ChannelTests.message) }
            for task in cancelled { task.cancel() }
            broker.send(.method(channel: 1, .basicAck(deliveryTag: 1, isMultiple: false)))
            #expect(try await first == .acknowledged)
            for task in cancelled { await #expect(throws: CancellationError.self) { _ = try await task.value } }
            await broker.until { $0.methods.count { $0.id == Method.ID(60, 40) } == 2 }
            broker.send(.method(channel: 1, .basicNack(deliveryTag: 2, isMultiple: false, requeue: false)))
            #expect(try await last.value == .refused)
        }
    }

    @Test("while the broker accepts no messages, they wait or are refused, and all else passes")
    func blocked() async throws {
        try await ScriptedBroker.connected(script: Self.confirming(1)) { broker, connection in
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            let (changes, continuation) = AsyncStream.makeStream(of: Bool.self)
            await connection.observeBlocked { continuation.yield($0) }
            let tag = try await channel.consume(queue: "q") { event in
                guard case .delivery(let delivery) = event else { return }
                _ = channel.assumeIsolated { $0.ack(delivery.token) }
            }
            broker.send(.method(channel: 0, .connectionBlocked(reason: "low on memory")))
            var iterator = changes.makeAsyncIterator()
            #expect(await iterator.next() == true)
            #expect(await connection.blockedReason == "low on memory")

            let waiting = (0..<10).map { _ in Task { try await channel.publishConfirmed(ChannelTests.message) } }
            let error = await ChannelTests.error { try await channel.publish(ChannelTests.message) }
            #expect(error?.code == .blocked)
            broker.send(deliveryFrames(1, consumer: tag))
            await broker.until { $0.methods.contains(.basicAck(deliveryTag: 1, isMultiple: false)) }
            try await channel.qos(prefetchCount: 1)
            #expect(!broker.methods.contains { $0.id == Method.ID(60, 40) }, "no message is sent")

            broker.send(.method(channel: 0, .connectionUnblocked))
            #expect(await iterator.next() == false)
            for task in waiting { #expect(try await task.value == .acknowledged) }
            try await channel.publish(ChannelTests.message)
            await broker.until { $0.methods.count { $0.id == Method.ID(60, 40) } == 11 }
        }
    }

    @Test("those who wait while blocked get the connection's end")
    func endWhileBlocked() async throws {
        try await ScriptedBroker.connected { broker, connection in
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            broker.send(.method(channel: 0, .connectionBlocked(reason: "x")))
            while await !connection.isBlocked { await Task.yield() }
            async let waiting = ChannelTests.error { try await channel.publishConfirmed(ChannelTests.message) }
            while await connection.flow.demands == 0 { await Task.yield() }
            broker.drop()
            #expect(await waiting?.code == .connectionLost)
        }
    }

    @Test("a mandatory message that comes back is told from one that does not")
    func returned() async throws {
        let script: ScriptedBroker.Script = { frame, peer in
            guard case .method(let channel, .basicPublish(let exchange, let key, true)) = frame else { return false }
            if key == "nowhere" {
                peer.send([
                    .method(
                        channel: channel,
                        .basicReturn(replyCode: 312, replyText: "NO_ROUTE", exchange: exchange, routingKey: key)
                    ),
                    .header(channel: channel, Frame.ContentHeader(bodySize: 1, properties: BasicProperties())),
                    .body(channel: channel, ByteBuffer(string: "m")),
                    .method(channel: channel, .basicAck(deliveryTag: 2, isMultiple: true)),
                ])
            }
            return true
        }
        try await ScriptedBroker.connected(script: script) { broker, connection in
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            let body = ByteBuffer(string: "m")
            async let routed = channel.publishConfirmed(Message(routingKey: "q", body: body, isMandatory: true))
            await broker.until { $0.methods.contains { $0.id == Method.ID(60, 40) } }
            let result = try await channel.publishConfirmed(
                Message(routingKey: "nowhere", body: body, isMandatory: true)
            )
            guard case .returned(let message) = result else {
                Issue.record("\(result)")
                return
            }
            #expect(message.replyCode == 312)
            #expect(message.message.body == body)
            #expect(try await routed == .acknowledged)
        }
    }

    @Test("a confirm of a message that was never sent ends the connection")
    func unknownConfirm() async throws {
        try await ScriptedBroker.connected { broker, connection in
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            broker.send(.method(channel: 1, .basicAck(deliveryTag: 1, isMultiple: false)))
            let error = await ChannelTests.error { try await connection.closed() }
            #expect(error?.code == .protocolViolation)
        }
    }

    @Test("a body of many frames arrives whole")
    func largeBody() async throws {
        try await ScriptedBroker.connected(script: Self.confirming(1)) { broker, connection in
            let channel = try await connection.openChannel()
            let body = ByteBuffer(repeating: 0x61, count: 3_000_000)
            try await channel.publish(Message(routingKey: "q", body: body))
            await broker.until { frames in
                frames.reduce(0) { if case .body(_, let piece) = $1 { $0 + piece.readableBytes } else { $0 } }
                    == 3_000_000
            }
        }
    }
}

/// Counts from 1 on.
private final class SendableCounter: Sendable {
    private let count = Atomic<UInt64>(0)

    func next() -> UInt64 { self.count.add(1, ordering: .relaxed).newValue }
}

extension AMQPChannel {
    fileprivate func limitOutstanding(_ limit: Int) { self.outstandingLimit = limit }
}
