import Logging
import NIOCore
import NIOPosix
import NIOSSL

/// A connection of mitmproxy's with the one upstream that belongs to it. Lives on the event loop, and ends with its connections.
final class RelayConnection {
    /// What connections of one route have in common.
    struct Settings {
        var route: UpstreamRoute
        /// For an `https` upstream.
        var tls: NIOSSLContext?
        var limits: UpstreamRelay.Limits
        var connections: RelayConnections
    }

    private let settings: Settings
    private let client: any Channel
    private var upstream: (any Channel)?
    /// Channels of which one may become the upstream.
    private var candidates: [any Channel] = []
    private var machine: RelayMachine
    /// Which attempt to connect is the present one.
    private var attempt = 0
    private var dialLimit: Scheduled<Void>?
    private var endLimit: Scheduled<Void>?
    /// Reads that have been asked for and must wait.
    private var heldReads: Set<RelayEnd.Side> = []
    /// To whom no more is sent. When such a side ends, too, its channel closes at once.
    private var endedOutputs: Set<RelayEnd.Side> = []
    /// How often bytes have come.
    private var arrivals = 0
    private var openChannels = 0

    private init(client: any Channel, settings: Settings) {
        self.client = client
        self.settings = settings
        self.machine = RelayMachine(route: settings.route)
    }

    /// Serves a connection that was accepted; on its event loop.
    static func serve(_ client: any Channel, settings: Settings) throws {
        let connection = RelayConnection(client: client, settings: settings)
        try client.pipeline.syncOperations.addHandler(RelayEnd(.client, of: connection))
        settings.connections.add(connection)
        connection.count(client)
    }

    private func count(_ channel: any Channel) {
        self.openChannels += 1
        channel.closeFuture.assumeIsolated().whenComplete { _ in
            self.openChannels -= 1
            if self.openChannels == 0 { self.settings.connections.remove(self) }
        }
    }

    /// Breaks both connections off.
    func abort() { self.perform(self.machine.aborted()) }

    // MARK: What happens to the channels

    func received(_ bytes: ByteBuffer, from side: RelayEnd.Side) {
        self.arrivals &+= 1
        switch side {
        case .client:
            if self.machine.isTunnelOpen, let upstream {
                upstream.write(bytes, promise: nil)
            } else {
                self.perform(self.machine.clientReceived(bytes))
            }
        case .upstream:
            if self.machine.isTunnelOpen {
                self.client.write(bytes, promise: nil)
            } else {
                self.perform(self.machine.upstreamReceived(bytes))
            }
        }
    }

    func ended(_ side: RelayEnd.Side, isClean: Bool = true) {
        switch side {
        case .client: self.perform(self.machine.clientEnded())
        case .upstream: self.perform(self.machine.upstreamEnded(isClean: isClean))
        }
    }

    func closed(_ side: RelayEnd.Side) {
        if self.endedOutputs.contains(side) { self.ended(side) }
        switch side {
        case .client:
            self.perform(self.machine.clientClosed())
        case .upstream:
            self.upstream = nil
            self.perform(self.machine.upstreamFailed(.closed))
        }
    }

    func failed(_ side: RelayEnd.Side, _ error: any Error) {
        switch side {
        case .client: self.abort()
        case .upstream:
            if case NIOSSLError.uncleanShutdown = error { return self.ended(.upstream, isClean: false) }
            self.perform(self.machine.upstreamFailed(RelayFailure.Cause(error, limit: self.settings.limits.dial)))
        }
    }

    func handshakeCompleted() { self.perform(self.machine.upstreamConnected()) }

    func isUpstream(_ channel: any Channel) -> Bool { self.upstream === channel }

    // MARK: Back-pressure

    /// Whether a side may be read from: not faster than the other one is written to. Otherwise it is read from later.
    func mayRead(_ side: RelayEnd.Side) -> Bool {
        let may = self.canRead(side)
        if !may { self.heldReads.insert(side) }
        return may
    }

    private func canRead(_ side: RelayEnd.Side) -> Bool {
        switch side {
        case .client: self.machine.wantsClient && (self.upstream?.isWritable ?? true)
        case .upstream: self.client.isWritable
        }
    }

    var heldBytes: Int {
        [self.client, self.upstream].reduce(0) { held, channel in
            held + ((try? channel?.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0)
        }
    }

    func flush() {
        self.client.flush()
        self.upstream?.flush()
    }

    /// Reads on where that has become possible.
    func resumeReading() {
        if self.heldReads.contains(.client), self.canRead(.client) {
            self.heldReads.remove(.client)
            self.client.read()
        }
        if self.heldReads.contains(.upstream), self.canRead(.upstream), let upstream {
            self.heldReads.remove(.upstream)
            upstream.read()
        }
    }

    // MARK: What the machine wants

    private func perform(_ actions: [RelayMachine.Action]) {
        for action in actions {
            switch action {
            case .dial(let address): self.dial(address)
            case .toUpstream(let bytes): self.upstream?.write(bytes, promise: nil)
            case .toClient(let bytes): self.client.write(bytes, promise: nil)
            case .endUpstream:
                self.endedOutputs.insert(.upstream)
                if let upstream { self.afterFlush(upstream) { $0.close(mode: .output, promise: nil) } }
                self.watchHalfClosed()
            case .endClient:
                self.endedOutputs.insert(.client)
                self.afterFlush(self.client) { $0.close(mode: .output, promise: nil) }
                self.watchHalfClosed()
            case .finish: self.finish()
            case .close:
                self.cancelDial()
                self.afterFlush(self.client) { $0.close(promise: nil) }
                if let upstream { self.afterFlush(upstream) { $0.close(promise: nil) } }
            case .reset:
                self.cancelDial()
                Self.reset(self.client)
                if let upstream { Self.reset(upstream) }
            case .report(let failure): self.settings.connections.report(failure)
            }
        }
        if !self.machine.isDialing {
            self.dialLimit?.cancel()
            self.dialLimit = nil
        }
        if self.machine.state == .ended {
            self.endLimit?.cancel()
            self.endLimit = nil
        }
        self.flush()
        self.resumeReading()
    }

    private func finish() {
        self.dropUpstream()
        self.endedOutputs.insert(.client)
        let limit = self.settings.limits.linger
        self.afterFlush(self.client) { client in
            client.close(mode: .output, promise: nil)
            guard self.machine.state != .ended else { return }
            self.endLimit?.cancel()
            self.endLimit = client.eventLoop.assumeIsolated().scheduleTask(in: limit) { client.close(promise: nil) }
        }
    }

    /// One side has ended, and the other may go on. Whether anybody is left there can't always be told, so that it must say something at times.
    private func watchHalfClosed() {
        guard self.endLimit == nil, self.machine.state != .ended else { return }
        let arrivals = self.arrivals
        self.endLimit = self.client.eventLoop.assumeIsolated()
            .scheduleTask(in: self.settings.limits.halfClosed) {
                self.endLimit = nil
                if self.arrivals == arrivals { self.abort() } else { self.watchHalfClosed() }
            }
    }

    /// Does it when all that was written has been given to the kernel; never, where the channel breaks before.
    private func afterFlush(_ channel: any Channel, _ body: @escaping (any Channel) -> Void) {
        channel.writeAndFlush(ByteBuffer()).assumeIsolated().whenSuccess { body(channel) }
    }

    private static func reset(_ channel: any Channel) {
        if let channel = channel as? any SocketOptionProvider {
            channel.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenFailure { _ in }
        }
        // A handler of TLS would say that all is well.
        if let tls = try? channel.pipeline.syncOperations.context(handlerType: NIOSSLClientHandler.self) {
            tls.close(promise: nil)
        } else {
            channel.close(promise: nil)
        }
    }
}

extension RelayConnection {
    // MARK: Connecting

    private func dial(_ address: HostPort) {
        self.dropUpstream()
        let attempt = self.attempt
        let limit = self.settings.limits.dial
        self.dialLimit = self.client.eventLoop.assumeIsolated()
            .scheduleTask(in: TimeAmount(limit)) {
                self.dialLimit = nil
                self.perform(self.machine.upstreamFailed(.timedOut(limit)))
            }
        let this = NIOLoopBound(self, eventLoop: self.client.eventLoop)
        ClientBootstrap(group: self.client.eventLoop)
            .connectTimeout(TimeAmount(limit))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try this.value.prepare(channel, address, attempt) }
            }
            .connect(host: address.host, port: address.port)
            .assumeIsolated()
            .whenComplete { self.dialed($0, attempt) }
    }

    private func prepare(_ channel: any Channel, _ address: HostPort, _ attempt: Int) throws {
        guard attempt == self.attempt else { throw ChannelError.ioOnClosedChannel }
        if let tls = self.settings.tls {
            let name = address.addressBytes == nil ? address.host : nil
            try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: tls, serverHostname: name))
        }
        try channel.pipeline.syncOperations.addHandler(RelayEnd(.upstream, of: self))
        self.candidates.append(channel)
        self.count(channel)
    }

    private func dialed(_ result: Result<any Channel, any Error>, _ attempt: Int) {
        guard attempt == self.attempt else {
            if case .success(let channel) = result { channel.close(promise: nil) }
            return
        }
        self.candidates = []
        switch result {
        case .success(let channel):
            self.upstream = channel
            // With TLS it's connected when the handshake is through.
            if self.settings.tls == nil { self.perform(self.machine.upstreamConnected()) }
        case .failure(let error):
            self.perform(self.machine.upstreamFailed(RelayFailure.Cause(error, limit: self.settings.limits.dial)))
        }
    }

    private func cancelDial() {
        self.attempt += 1
        for candidate in self.candidates { candidate.close(promise: nil) }
        self.candidates = []
    }

    private func dropUpstream() {
        self.cancelDial()
        self.heldReads.remove(.upstream)
        let upstream = self.upstream
        self.upstream = nil
        upstream?.close(promise: nil)
    }
}
