import Glibc
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import AMQP

@Suite("Connection, with a scripted broker", .timeLimit(.minutes(1)))
struct ConnectionTests {
    @Test("opens, tells what was agreed on, closes in order")
    func opens() async throws {
        try await ScriptedBroker.run(tune: Method.Tune(channelMax: 9, frameMax: 8192, heartbeat: 20)) {
            broker,
            configuration in
            try await AMQPConnection.withConnection(
                configuration,
                on: ScriptedBroker.eventLoop,
                logger: ScriptedBroker.logger
            ) { connection in
                #expect(await connection.frameMax == 8192)
                #expect(await connection.heartbeat == 20)
                #expect(await connection.serverProperties["product"]?.string == "Scripted")
                #expect(await !connection.hasEnded)
            }
            guard case .method(0, .connectionClose(let reason)) = broker.frames.last else {
                Issue.record("no close: \(broker.frames)")
                return
            }
            #expect(reason.replyCode == 200)
        }
    }

    @Test("refused credentials are told apart from a lost connection")
    func authenticationFailure() async throws {
        let script: ScriptedBroker.Script = { frame, peer in
            guard case .method(_, .connectionStartOk) = frame else { return false }
            peer.send([
                .method(channel: 0, .connectionClose(CloseReason(replyCode: 403, replyText: "ACCESS_REFUSED")))
            ])
            return true
        }
        let error = await Self.failure(script)
        #expect(error?.code == .authenticationRefused)
        #expect(error?.reply?.replyText == "ACCESS_REFUSED")
        #expect(error?.isPermanent == true)
    }

    @Test("a broker that says nothing is given up at the handshake's deadline")
    func handshakeDeadline() async throws {
        let error = await Self.failure(timeout: 0.05) { frame, _ in frame == .heartbeat }
        #expect(error?.code == .handshakeTimeout)
    }

    @Test(
        "a server that speaks something else is a protocol violation",
        arguments: ["HTTP/1.1 400", "AMQP\u{0}\u{1}\u{0}\u{0}"]
    )
    func notAMQP(_ answer: String) async throws {
        let error = await Self.failure { frame, peer in
            guard frame == .heartbeat else { return false }
            peer.send(raw: Array(answer.utf8))
            return true
        }
        #expect(error?.code == .protocolViolation)
    }

    /// Binds a socket to a free port of the loopback interface. Returns the port.
    private static func bind(_ descriptor: Int32) -> Int? {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                Glibc.bind(descriptor, pointer, length) == 0 && getsockname(descriptor, pointer, &length) == 0
            }
        }
        return isBound ? Int(UInt16(bigEndian: address.sin_port)) : nil
    }

    @Test("nobody listens")
    func connectFailed() async throws {
        // Bound, so that nobody else gets the port, and not listening.
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        let port = try #require(Self.bind(descriptor))
        let configuration = ConnectionConfiguration(endpoint: Endpoint(host: "127.0.0.1", port: port))
        let error = await #expect(throws: AMQPError.self) {
            try await AMQPConnection.withConnection(
                configuration,
                on: ScriptedBroker.eventLoop,
                logger: ScriptedBroker.logger
            ) { _ in }
        }
        #expect(error?.code == .connectFailed)
    }

    @Test("a close by the broker is answered, ends channels, consumers and waiters, and tells why")
    func closedByBroker() async throws {
        let events = NIOLockedValueBox<[String]>([])
        try await ScriptedBroker.connected(script: { Self.isDeclare($0, $1) }) { broker, connection in
            let channel = try await connection.openChannel()
            _ = try await channel.consume(queue: "q") { event in
                guard case .closed(let error) = event else { return }
                events.withLockedValue { $0.append("\(error.code)") }
            }
            async let pending = ChannelTests.error { try await channel.declare(QueueDeclaration(name: "q")) }
            await broker.until { $0.methods.contains { $0.id == Method.ID(50, 10) } }
            broker.send(
                .method(channel: 0, .connectionClose(CloseReason(replyCode: 320, replyText: "CONNECTION_FORCED")))
            )
            let failure = await #expect(throws: AMQPError.self) { try await connection.closed() }
            let error = try #require(failure)
            #expect(error.code == .connectionClosedByBroker)
            #expect(error.reply?.replyCode == 320)
            await broker.until { $0.last == .method(channel: 0, .connectionCloseOk) }
            #expect(await connection.hasEnded)
            await #expect(throws: error) { try await channel.closed() }
            await #expect(throws: error) { try await connection.openChannel() }
            #expect(await pending == error)
        }
        #expect(events.withLockedValue { $0 } == ["\(AMQPError.Code.connectionClosedByBroker)"])
    }

    @Test("a dropped socket is a lost connection")
    func dropped() async throws {
        try await ScriptedBroker.connected { broker, connection in
            broker.drop()
            let error = await #expect(throws: AMQPError.self) { try await connection.closed() }
            #expect(error?.code == .connectionLost)
        }
    }

    @Test("a frame of a channel that is not open ends the connection")
    func unknownChannel() async throws {
        try await ScriptedBroker.connected { broker, connection in
            broker.send(.method(channel: 7, .basicQosOk))
            let error = await #expect(throws: AMQPError.self) { try await connection.closed() }
            #expect(error?.code == .protocolViolation)
            await broker.until {
                guard case .method(0, .connectionClose(let reason)) = $0.last else { return false }
                return reason.replyCode == 504
            }
        }
    }

    @Test("heartbeats are sent, and a broker that is silent for two intervals is given up")
    func heartbeats() async throws {
        let tune = Method.Tune(channelMax: 1, frameMax: 4096, heartbeat: 1)
        try await ScriptedBroker.connected(tune: tune) { broker, connection in
            // The scripted broker sends none.
            let error = await #expect(throws: AMQPError.self) { try await connection.closed() }
            #expect(error?.code == .heartbeatTimeout)
            #expect(broker.frames.heartbeats >= 2)
        }
    }

    @Test("close in a cancelled task still closes in order")
    func closeWhenCancelled() async throws {
        try await ScriptedBroker.connected { broker, connection in
            let task = Task {
                // Sleeps until it is cancelled.
                try? await Task.sleep(for: .seconds(3600))
                await connection.close()
                return await connection.hasEnded
            }
            task.cancel()
            #expect(await task.value, "it has waited for the broker's answer")
            try await connection.closed()
            #expect(broker.frames.contains { if case .method(0, .connectionClose) = $0 { true } else { false } })
        }
    }

    @Test("two closes at once wait for the same answer")
    func closeTwice() async throws {
        try await ScriptedBroker.connected { broker, connection in
            async let first: Void = connection.close()
            async let second: Void = connection.close()
            _ = await (first, second)
            let closes = broker.frames.count { if case .method(0, .connectionClose) = $0 { true } else { false } }
            #expect(closes == 1)
        }
    }

    @Test("a cancelled opening of a channel leaves no channel behind")
    func cancelledOpen() async throws {
        let isHeld = NIOLockedValueBox(false)
        let script: ScriptedBroker.Script = { frame, peer in
            switch frame {
            case .method(1, .channelOpen):
                return isHeld.withLockedValue { isHeld in
                    defer { isHeld = true }
                    return !isHeld
                }
            case .method(1, .channelClose):
                // The answer to the opening, which comes too late.
                peer.send([.method(channel: 1, .channelOpenOk)])
                return false
            default: return false
            }
        }
        try await ScriptedBroker.connected(script: script) { broker, connection in
            let opening = Task { _ = try await connection.openChannel() }
            await broker.until { $0.methods.contains(.channelOpen) }
            opening.cancel()
            await #expect(throws: CancellationError.self) { try await opening.value }
            await broker.until { $0.methods.contains { $0.id == Method.ID(20, 40) } }
            // Number 1 comes back once the broker has answered the close.
            let second = try await connection.openChannel()
            try await second.qos(prefetchCount: 1)
            #expect(await !connection.hasEnded)
            if second.number == 2 {
                let third = try await connection.openChannel()
                #expect(third.number == 1)
            }
        }
    }

    @Test("all channels that were agreed on can be open, and no more")
    func channelLimit() async throws {
        try await ScriptedBroker.connected(tune: Method.Tune(channelMax: 3, frameMax: 4096, heartbeat: 0)) {
            _,
            connection in
            var channels: [AMQPChannel] = []
            for _ in 0..<3 { channels.append(try await connection.openChannel()) }
            let error = await #expect(throws: AMQPError.self) { try await connection.openChannel() }
            #expect(error?.code == .limit)
            try await channels[1].close()
            let again = try await connection.openChannel()
            #expect(again.number == channels[1].number)
            #expect(again.id != channels[1].id)
        }
    }

    @Test("a new secret")
    func updateSecret() async throws {
        try await ScriptedBroker.connected { broker, connection in
            try await connection.updateSecret("new", reason: "rotation")
            let expected = Method.connectionUpdateSecret(secret: ByteBuffer(string: "new"), reason: "rotation")
            #expect(broker.frames.contains(.method(channel: 0, expected)))
        }
    }

    // MARK: Helpers

    static func isDeclare(_ frame: Frame, _ peer: ScriptedBroker.Peer) -> Bool {
        guard case .method(_, .queueDeclare) = frame else { return false }
        return true
    }

    private static func failure(timeout: Double = 10, _ script: @escaping ScriptedBroker.Script) async -> AMQPError? {
        await #expect(throws: AMQPError.self) {
            try await ScriptedBroker.run(script: script) { _, configuration in
                var configuration = configuration
                configuration.handshakeTimeout = timeout
                try await AMQPConnection.withConnection(
                    configuration,
                    on: ScriptedBroker.eventLoop,
                    logger: ScriptedBroker.logger
                ) { _ in }
            }
        }
    }
}
