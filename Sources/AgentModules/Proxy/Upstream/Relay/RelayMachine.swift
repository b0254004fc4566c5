import NIOCore

/// What the relay does for one connection of mitmproxy's: which bytes go where.
///
/// A client either asks for a tunnel (`CONNECT`), and the bytes are then passed on as they are, or sends requests with absolute URLs, one after the other. Each
/// request is sent upstream when the answer to the one before it is complete; until then it waits, so that it may go to another server, and can be answered by
/// the relay itself where there is no upstream. Answers are passed on as they came.
struct RelayMachine {
    enum Action: Equatable {
        /// Connect, with TLS where the upstream is an `https` proxy; what was connected before is dropped.
        case dial(HostPort)
        case toUpstream(ByteBuffer)
        case toClient(ByteBuffer)
        /// No more bytes follow what has been sent.
        case endUpstream
        case endClient
        /// The client has got its last byte: drop the upstream, and wait for the client's end for a while. Closed at once, a connection with bytes that
        /// nobody has read would take the last bytes that were sent with it.
        case finish
        /// Close both once everything has been sent.
        case close
        /// Break both off at once, so that what is cut off can't be taken for complete.
        case reset
        case report(RelayFailure)
    }

    enum State {
        case requests
        case tunnel
        /// The client has got its last byte.
        case finishing
        case ended
    }

    /// The connection to the proxy, or to the server itself.
    enum Upstream: Equatable {
        case none
        case dialing
        case socks(SOCKS5Client)
        case connect(HTTPConnectClient)
        case open
    }

    let route: UpstreamRoute
    var state = State.requests
    var upstream = Upstream.none
    /// The server that the upstream connection leads to.
    var target: HostPort?
    /// What the upstream is sent first.
    var opening = ByteBuffer()
    /// What the client has sent and nobody has had yet.
    var input = ByteBuffer()
    /// What the upstream has sent and nobody has had yet: a part of a head.
    var output = ByteBuffer()
    var requestHeads = HTTPHeadScanner()
    var exchange: HTTPExchange?
    var hasClientEnded = false
    var hasUpstreamEnded = false
    /// What follows from the event at hand.
    var actions: [Action] = []

    init(route: UpstreamRoute) { self.route = route }

    /// Whether bytes are to be read from the client now.
    var wantsClient: Bool {
        switch self.state {
        case .tunnel: self.upstream == .open
        case .requests:
            if let exchange { self.upstream == .open && !exchange.isRequestComplete } else { true }
        case .finishing: true
        case .ended: false
        }
    }

    /// Whether nothing remains but to pass bytes on as they are.
    var isTunnelOpen: Bool { self.state == .tunnel && self.upstream == .open }

    /// Whether the upstream is being connected to; there is a limit to that.
    var isDialing: Bool {
        switch self.upstream {
        case .none, .open: false
        case .dialing, .socks, .connect: true
        }
    }

    // MARK: The client

    mutating func clientReceived(_ bytes: ByteBuffer) -> [Action] {
        if self.isTunnelOpen { return [.toUpstream(bytes)] }
        guard self.state == .requests || self.state == .tunnel else { return [] }
        self.input.append(bytes)
        if self.state == .requests { self.advance() }
        return self.takeActions()
    }

    mutating func clientEnded() -> [Action] {
        self.hasClientEnded = true
        switch self.state {
        case .tunnel: if self.upstream == .open { self.endUpstream() }
        case .requests: if self.exchange == nil || self.upstream == .open { self.advance() }
        case .finishing: self.end(.close)
        case .ended: break
        }
        return self.takeActions()
    }

    /// The client's connection is no more.
    mutating func clientClosed() -> [Action] {
        guard self.state != .ended else { return [] }
        self.end(self.hasClientEnded || self.state == .finishing ? .close : .reset)
        return self.takeActions()
    }

    /// Nothing is to go on, whatever has been sent.
    mutating func aborted() -> [Action] {
        self.end(.reset)
        return self.takeActions()
    }

    // MARK: The upstream

    mutating func upstreamConnected() -> [Action] {
        guard self.upstream == .dialing, let target else { return [] }
        switch self.route {
        case .proxy(let proxy) where proxy.scheme.isSOCKS:
            let client = SOCKS5Client(target: target, credentials: proxy.credentials)
            self.upstream = .socks(client)
            self.actions.append(.toUpstream(client.greeting))
        case .proxy where self.state == .tunnel:
            self.upstream = .connect(HTTPConnectClient())
            self.actions.append(.toUpstream(self.opening))
        case .proxy, .direct: self.open()
        }
        return self.takeActions()
    }

    mutating func upstreamReceived(_ bytes: ByteBuffer) -> [Action] {
        if self.isTunnelOpen { return [.toClient(bytes)] }
        guard self.state == .requests || self.state == .tunnel else { return [] }
        self.output.append(bytes)
        if self.isDialing { self.establish() }
        if self.upstream == .open, self.state == .requests { self.passResponse() }
        return self.takeActions()
    }

    /// - Parameter isClean: not where TLS was broken off.
    mutating func upstreamEnded(isClean: Bool) -> [Action] {
        guard self.upstream == .open else { return self.upstreamFailed(.closed) }
        guard !self.hasUpstreamEnded else { return [] }
        self.hasUpstreamEnded = true
        if self.state == .tunnel {
            self.actions.append(.endClient)
            if self.hasClientEnded { self.end(.close) }
        } else if let exchange, exchange.response == .untilClose, isClean {
            self.finish()
        } else {
            self.loseUpstream(.closed)
        }
        return self.takeActions()
    }

    /// There is no connection to the upstream, or no more.
    mutating func upstreamFailed(_ cause: RelayFailure.Cause) -> [Action] {
        guard self.upstream != .none else { return [] }
        if self.hasUpstreamEnded {
            // It had said all that it had to say.
            self.end(.close)
        } else if self.isDialing, let target {
            if case .connect(let client) = self.upstream, let refusal = client.partial,
                case .proxy(let proxy) = self.route
            {
                self.fail(RelayFailure(refusal, proxy, target: target))
            } else {
                self.fail(RelayFailure(cause, self.route, target: target))
            }
        } else {
            self.loseUpstream(cause)
        }
        return self.takeActions()
    }

    /// An open upstream is gone: a request that waits is told so, and what has been answered in part is cut off.
    private mutating func loseUpstream(_ cause: RelayFailure.Cause) {
        guard self.state == .requests else { return self.end(.reset) }
        guard let exchange, !exchange.isResponseComplete else { return self.finish() }
        if exchange.hasResponseBegun { self.end(.reset) } else { self.failOpen(cause) }
    }

    /// The upstream was there, and then was not as it should be.
    mutating func failOpen(_ cause: RelayFailure.Cause) {
        guard let target else { return self.end(.reset) }
        // Behind SOCKS it's the server itself that has spoken; behind HTTP it may be.
        let isProxy = if case .proxy(let proxy) = self.route { !proxy.scheme.isSOCKS } else { false }
        var failure = RelayFailure(cause, isProxy ? self.route : .direct, target: target)
        failure.isOfProxy = false
        self.fail(failure)
    }

    // MARK: Ends

    mutating func fail(_ failure: RelayFailure) {
        self.actions.append(.report(failure))
        guard self.exchange?.hasResponseBegun != true else { return self.end(.reset) }
        self.actions.append(.toClient(failure.response(to: self.exchange?.method)))
        self.finish()
    }

    mutating func finish() {
        if self.hasClientEnded { return self.end(.close) }
        self.actions.append(.finish)
        self.state = .finishing
        self.release()
    }

    mutating func end(_ action: Action) {
        self.actions.append(action)
        self.state = .ended
        self.release()
    }

    /// Says upstream that the client has ended.
    mutating func endUpstream() {
        self.actions.append(.endUpstream)
        if self.hasUpstreamEnded { self.end(.close) }
    }

    private mutating func release() {
        self.upstream = .none
        self.input = ByteBuffer()
        self.output = ByteBuffer()
        self.exchange = nil
    }

    private mutating func takeActions() -> [Action] {
        defer { self.actions = [] }
        return self.actions
    }
}

extension ByteBuffer {
    fileprivate mutating func append(_ bytes: ByteBuffer) {
        if self.readableBytes == 0 {
            self = bytes
        } else {
            self.writeImmutableBuffer(bytes)
        }
    }
}
