import NIOCore

extension RelayMachine {
    /// Reads on in what the client has sent.
    mutating func advance() {
        do throws(HTTPProblem) {
            while self.state == .requests {
                if self.exchange != nil {
                    guard try self.passRequest() else { return }
                } else if let head = try self.requestHeads.next(&self.input) {
                    try self.begin(HTTPRequestHead(parsing: head))
                } else {
                    if self.hasClientEnded { self.end(.close) }
                    return
                }
            }
        } catch {
            self.fail(RelayFailure(badRequest: "\(error)"))
        }
    }

    /// Passes the body on as far as it is there.
    /// - Returns: whether the next request can be read.
    private mutating func passRequest() throws(HTTPProblem) -> Bool {
        guard var exchange, self.upstream == .open, !exchange.isRequestComplete else { return false }
        if self.input.readableBytes > 0 {
            let part = try exchange.request.take(&self.input)
            self.exchange = exchange
            self.actions.append(.toUpstream(part))
        }
        if self.hasClientEnded, !exchange.isRequestComplete {
            // Half a request is none.
            self.end(.reset)
            return false
        }
        return self.concludeExchange()
    }

    private mutating func begin(_ head: HTTPRequestHead) throws(HTTPProblem) {
        if head.method == "CONNECT" {
            guard let authority = head.authority else { throw HTTPProblem("a CONNECT without host and port") }
            self.state = .tunnel
            self.target = authority
            switch self.route {
            case .direct: self.dial(authority)
            case .proxy(let proxy):
                self.opening = head.forwarded(authorization: proxy.authorization)
                self.dial(proxy.address)
            }
            return
        }
        self.exchange = try HTTPExchange(head)
        let origin = head.origin
        if case .proxy(let proxy) = self.route, !proxy.scheme.isSOCKS {
            self.opening = head.forwarded(authorization: proxy.authorization)
            self.target = origin?.server ?? proxy.address
            if self.upstream == .open { self.sendOpening() } else { self.dial(proxy.address) }
            return
        }
        guard let (server, target) = origin else { throw HTTPProblem("a request without an absolute http URL") }
        self.opening = head.forwarded(target: target, server: server)
        if self.upstream == .open, self.target == server {
            self.sendOpening()
        } else {
            self.target = server
            if case .proxy(let proxy) = self.route { self.dial(proxy.address) } else { self.dial(server) }
        }
    }

    private mutating func dial(_ address: HostPort) {
        self.upstream = .dialing
        self.hasUpstreamEnded = false
        self.output = ByteBuffer()
        self.actions.append(.dial(address))
    }

    private mutating func sendOpening() {
        self.actions.append(.toUpstream(self.opening))
        self.opening = ByteBuffer()
    }

    /// Goes on with the proxy's part of the way to the target.
    mutating func establish() {
        guard case .proxy(let proxy) = self.route, let target else { return }
        switch self.upstream {
        case .socks(var client):
            do throws(SOCKS5Client.Problem) {
                while let step = try client.receive(&self.output) {
                    guard case .send(let message) = step else { return self.open() }
                    self.actions.append(.toUpstream(message))
                }
                self.upstream = .socks(client)
            } catch {
                self.fail(RelayFailure(error, proxy, target: target))
            }
        case .connect(var client):
            do throws(HTTPProblem) {
                let outcome = try client.receive(&self.output)
                self.upstream = .connect(client)
                switch outcome {
                case .connected: self.open()
                case .refused(let refusal): self.fail(RelayFailure(refusal, proxy, target: target))
                case nil: break
                }
            } catch {
                self.fail(RelayFailure(.violation(error.description), self.route, target: target))
            }
        case .none, .dialing, .open: break
        }
    }

    /// The way to the target is open.
    mutating func open() {
        self.upstream = .open
        if self.state == .tunnel {
            self.actions.append(.toClient(ByteBuffer(string: "HTTP/1.1 200 Connection established\r\n\r\n")))
            self.passAll()
        } else {
            self.sendOpening()
            self.advance()
        }
    }

    /// Passes on what has been held back, when nothing is to be looked at any more.
    private mutating func passAll() {
        if self.input.readableBytes > 0 { self.actions.append(.toUpstream(self.input)) }
        if self.output.readableBytes > 0 { self.actions.append(.toClient(self.output)) }
        self.input = ByteBuffer()
        self.output = ByteBuffer()
        self.opening = ByteBuffer()
        if self.hasClientEnded { self.endUpstream() }
    }

    /// Passes the answer on as far as it is there.
    mutating func passResponse() {
        do throws(HTTPProblem) {
            while self.output.readableBytes > 0 {
                // Nobody has asked for it.
                guard var exchange, !exchange.isResponseComplete else { return self.finish() }
                let part = try exchange.take(&self.output)
                if case .head(let head, _) = part, head.status == 407, case .proxy(let proxy) = self.route,
                    !proxy.scheme.isSOCKS
                {
                    return self.refuseCredentials(proxy, head)
                }
                self.exchange = exchange
                switch part {
                case .body(let bytes): self.actions.append(.toClient(bytes))
                case .head(let head, let bytes):
                    if head.status == 101 { return try self.upgrade(exchange, bytes) }
                    self.actions.append(.toClient(bytes))
                case nil: return
                }
                if self.concludeExchange() { self.advance() }
                guard self.state == .requests else { return }
            }
        } catch {
            self.failOpen(.violation(error.description))
        }
    }

    /// mitmproxy's clients have no credentials for the upstream, and are not to be asked for them.
    private mutating func refuseCredentials(_ proxy: UpstreamProxy, _ head: HTTPResponseHead) {
        // What it would say in the body is not waited for.
        self.fail(.credentials(proxy, proxy.redacted(HTTPRefusal(head).words)))
    }

    private mutating func upgrade(_ exchange: HTTPExchange, _ head: ByteBuffer) throws(HTTPProblem) {
        guard exchange.asksForUpgrade else { throw HTTPProblem("another protocol, which was not asked for") }
        self.actions.append(.toClient(head))
        self.state = .tunnel
        self.exchange = nil
        self.passAll()
    }

    /// - Returns: whether both are complete and the next request may follow.
    private mutating func concludeExchange() -> Bool {
        guard let exchange, exchange.isResponseComplete else { return false }
        // More than the answer has come: which request would it belong to?
        guard exchange.keepsAlive, self.output.readableBytes == 0 else {
            self.finish()
            return false
        }
        guard exchange.isRequestComplete else { return false }
        self.exchange = nil
        return true
    }
}
