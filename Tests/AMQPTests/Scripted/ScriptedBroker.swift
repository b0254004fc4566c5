import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

@testable import AMQP

/// A broker on loopback that answers as a test wants: every request in order, unless the test's `script` takes it.
///
/// Uses the codec under test, which `CodecTests` holds against the specification's bytes.
final class ScriptedBroker: Sendable {
    /// Called on the broker's event loop with each frame. Returns whether it has dealt with it.
    typealias Script = @Sendable (Frame, Peer) -> Bool

    private struct Waiter {
        var condition: @Sendable ([Frame]) -> Bool
        var continuation: CheckedContinuation<Void, Never>
    }

    private struct State {
        var frames: [Frame] = []
        var peers: [Peer] = []
        var waiters: [Waiter] = []
    }

    private let state = NIOLockedValueBox(State())
    let script: Script
    let tune: Method.Tune

    private init(tune: Method.Tune, script: @escaping Script) {
        self.tune = tune
        self.script = script
    }

    /// Runs `body` beside a broker; everything is closed afterwards.
    static func run<Result>(
        tune: Method.Tune = Method.Tune(channelMax: 2047, frameMax: 131_072, heartbeat: 0),
        script: @escaping Script = { _, _ in false },
        _ body: (ScriptedBroker, ConnectionConfiguration) async throws -> Result
    ) async throws -> Result {
        let broker = ScriptedBroker(tune: tune, script: script)
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(PeerHandler(broker: broker))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let port = server.localAddress?.port ?? 0
        let configuration = ConnectionConfiguration(endpoint: Endpoint(host: "127.0.0.1", port: port))
        do {
            let result = try await body(broker, configuration)
            await broker.stop(server)
            return result
        } catch {
            await broker.stop(server)
            throw error
        }
    }

    /// As ``run(tune:script:_:)``, with a connection to it.
    static func connected<Result: Sendable>(
        tune: Method.Tune = Method.Tune(channelMax: 2047, frameMax: 131_072, heartbeat: 0),
        script: @escaping Script = { _, _ in false },
        _ body: (ScriptedBroker, AMQPConnection) async throws -> Result
    ) async throws -> Result {
        try await Self.run(tune: tune, script: script) { broker, configuration in
            try await AMQPConnection.withConnection(configuration, on: Self.eventLoop, logger: Self.logger) {
                try await body(broker, $0)
            }
        }
    }

    static var eventLoop: any EventLoop { MultiThreadedEventLoopGroup.singleton.next() }
    static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private func stop(_ server: any Channel) async {
        try? await server.close()
        for peer in self.state.withLockedValue({ $0.peers }) { peer.close() }
    }

    // MARK: For tests

    var frames: [Frame] { self.state.withLockedValue { $0.frames } }

    /// All methods that have come, of channels but 0.
    var methods: [Method] { self.frames.methods }

    var connectionCount: Int { self.state.withLockedValue { $0.peers.count } }

    /// To the connection that came last.
    func send(_ frames: Frame...) { self.send(frames) }

    func send(_ frames: [Frame]) {
        let peer = self.state.withLockedValue { $0.peers.last }
        peer?.send(frames)
    }

    func drop() { self.state.withLockedValue { $0.peers.last }?.close() }

    /// Waits until what has come so far fulfils a condition.
    func until(_ condition: @escaping @Sendable ([Frame]) -> Bool) async {
        await withCheckedContinuation { continuation in
            let isFulfilled = self.state.withLockedValue { state in
                if condition(state.frames) { return true }
                state.waiters.append(Waiter(condition: condition, continuation: continuation))
                return false
            }
            if isFulfilled { continuation.resume() }
        }
    }

    // MARK: For the handler

    fileprivate func came(_ peer: Peer) { self.state.withLockedValue { $0.peers.append(peer) } }

    fileprivate func came(_ frame: Frame, _ peer: Peer) {
        let ready = self.state.withLockedValue { state in
            state.frames.append(frame)
            if state.waiters.isEmpty { return [Waiter]() }
            let frames = state.frames
            let ready = state.waiters.filter { $0.condition(frames) }
            state.waiters.removeAll { $0.condition(frames) }
            return ready
        }
        if !self.script(frame, peer) { self.answer(frame, peer) }
        for waiter in ready { waiter.continuation.resume() }
    }

    func answer(_ frame: Frame, _ peer: Peer) {
        guard case .method(let channel, let method) = frame else { return }
        func reply(_ method: Method) { peer.send([.method(channel: channel, method)]) }
        switch method {
        case .connectionStartOk: reply(.connectionTune(self.tune))
        case .connectionOpen: reply(.connectionOpenOk)
        case .connectionClose: reply(.connectionCloseOk)
        case .connectionUpdateSecret: reply(.connectionUpdateSecretOk)
        case .channelOpen: reply(.channelOpenOk)
        case .channelClose: reply(.channelCloseOk)
        case .basicQos: reply(.basicQosOk)
        case .confirmSelect: reply(.confirmSelectOk)
        case .basicConsume(let consume): reply(.basicConsumeOk(consumerTag: consume.consumerTag))
        case .basicCancel(let tag, noWait: false): reply(.basicCancelOk(consumerTag: tag))
        case .queueDeclare(let queue, noWait: false):
            reply(.queueDeclareOk(DeclaredQueue(name: queue.name, messageCount: 0, consumerCount: 0)))
        default: break
        }
    }

    static let start = Frame.method(
        channel: 0,
        .connectionStart(
            serverProperties: ["product": .string("Scripted")],
            mechanisms: ByteBuffer(string: "PLAIN"),
            locales: ByteBuffer(string: "en_US")
        )
    )

    /// One connection, as the broker sees it.
    struct Peer: Sendable {
        let channel: any Channel

        func send(_ frames: [Frame]) {
            var buffer = ByteBuffer()
            for frame in frames { frame.write(to: &buffer) }
            self.channel.writeAndFlush(buffer, promise: nil)
        }

        func send(raw bytes: [UInt8]) { self.channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil) }

        func close() { self.channel.close(promise: nil) }
    }

    private final class PeerHandler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let broker: ScriptedBroker
        private var decoder = FrameDecoder()
        private var unread = ByteBuffer()
        private var hasHeader = false

        init(broker: ScriptedBroker) { self.broker = broker }

        func channelActive(context: ChannelHandlerContext) {
            self.broker.came(Peer(channel: context.channel))
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = self.unwrapInboundIn(data)
            self.unread.writeBuffer(&bytes)
            let peer = Peer(channel: context.channel)
            if !self.hasHeader {
                guard self.unread.readableBytes >= 8 else { return }
                self.unread.moveReaderIndex(forwardBy: 8)
                self.hasHeader = true
                if !self.broker.script(.heartbeat, peer) { peer.send([ScriptedBroker.start]) }
            }
            do {
                while let frame = try self.decoder.next(&self.unread) { self.broker.came(frame, peer) }
            } catch {
                context.close(promise: nil)
            }
        }
    }
}

extension [Frame] {
    /// Of channels but 0.
    var methods: [Method] {
        self.compactMap { frame in
            guard case .method(let channel, let method) = frame, channel != 0 else { return nil }
            return method
        }
    }

    var heartbeats: Int { self.count { $0 == .heartbeat } }
}

/// A message as a broker delivers it.
func deliveryFrames(_ tag: UInt64, consumer: String, body: String = "body", channel: UInt16 = 1) -> [Frame] {
    let body = ByteBuffer(string: body)
    let deliver = Method.Deliver(
        consumerTag: consumer,
        deliveryTag: tag,
        redelivered: false,
        exchange: "",
        routingKey: "q"
    )
    let header = Frame.ContentHeader(bodySize: UInt64(body.readableBytes), properties: BasicProperties())
    return [.method(channel: channel, .basicDeliver(deliver)), .header(channel: channel, header)]
        + (body.readableBytes > 0 ? [.body(channel: channel, body)] : [])
}
