import Glibc
import NIOCore
import NIOPosix
import NIOSSL

/// Why a request got nowhere, for the client that made it and for the log. Holds no credentials.
struct RelayFailure: Error, Equatable, CustomStringConvertible {
    /// What went wrong with a connection, without saying whose.
    enum Cause: Equatable {
        case refused
        /// The host's name.
        case unresolved
        case timedOut(Duration)
        /// In words for people.
        case tls(String)
        case io(String)
        /// It ended before it should have.
        case closed
        /// What was found where the protocol has something else.
        case violation(String)
    }

    /// For the answer to the client.
    var status: Int
    var description: String
    /// Whether it's the upstream proxy that is out of reach or unwilling, and not one target.
    var isOfProxy = false

    /// A connection that there is not, or no more.
    init(_ cause: Cause, _ route: UpstreamRoute, target: HostPort) {
        self.status = if case .timedOut = cause { 504 } else { 502 }
        switch route {
        case .direct: self.description = "\(target) \(Self.text(cause))"
        case .proxy(let proxy):
            self.description = "\(Self.name(proxy)) \(Self.text(cause))"
            self.isOfProxy = true
        }
    }

    init(_ problem: SOCKS5Client.Problem, _ proxy: UpstreamProxy, target: HostPort) {
        self.status = 502
        self.isOfProxy = true
        switch problem {
        case .noMethod where proxy.credentials == nil:
            self.description = "\(Self.name(proxy)) wants credentials, and there are none in its URL"
        case .noMethod:
            self.description = "\(Self.name(proxy)) takes neither user and password nor a connection without them"
        case .credentialsRefused: self.description = "\(Self.name(proxy)) refused our credentials"
        case .refused(let code):
            self.status = code == 6 ? 504 : 502
            self.isOfProxy = code == 1 || code == 7
            self.description = "\(Self.name(proxy)) did not connect to \(target): \(SOCKS5Client.meaning(of: code))"
        case .violation(let found): self.description = "\(Self.name(proxy)) does not speak SOCKS 5: \(found)"
        }
    }

    init(_ refusal: HTTPRefusal, _ proxy: UpstreamProxy, target: HostPort) {
        let words = proxy.redacted(refusal.words)
        if refusal.status == 407 {
            self = .credentials(proxy, words)
        } else {
            self.status = refusal.status
            self.description = "\(Self.name(proxy)) did not connect to \(target): \(words)"
        }
    }

    /// A request that the relay does not understand.
    init(badRequest problem: String) {
        self.status = 400
        self.description = "not a request to a proxy: \(problem)"
    }

    /// The upstream proxy's 407.
    static func credentials(_ proxy: UpstreamProxy, _ words: String) -> RelayFailure {
        var failure = RelayFailure(.closed, .proxy(proxy), target: proxy.address)
        failure.description =
            proxy.credentials == nil
            ? "\(Self.name(proxy)) wants credentials, and there are none in its URL: \(words)"
            : "\(Self.name(proxy)) refused our credentials: \(words)"
        return failure
    }

    private static func name(_ proxy: UpstreamProxy) -> String { "the upstream proxy \(proxy.address)" }

    private static func text(_ cause: Cause) -> String {
        switch cause {
        case .refused: "refused the connection"
        case .unresolved: "can't be found: its name does not resolve"
        case .timedOut(let limit): "did not answer within \(limit.shown)"
        case .tls(let reason): "can't be reached over TLS: \(reason)"
        case .io(let reason): "can't be reached: \(reason)"
        case .closed: "closed the connection without an answer"
        case .violation(let found): "gave an answer that is not HTTP/1.1: \(found)"
        }
    }

    /// The whole answer to the client, after which the connection ends. The text stands in the reason phrase, too: of the answer to a `CONNECT` mitmproxy shows nothing else.
    /// - Parameter method: of the request; an answer to `HEAD` has no body.
    func response(to method: String?) -> ByteBuffer {
        let text = "armada-agent: \(self.description)\n"
        // RFC 9112, section 4: a reason phrase has spaces and visible characters.
        let reason = self.description.unicodeScalars.prefix(300)
            .map { (0x20..<0x7F).contains($0.value) ? String($0) : "?" }.joined()
        return ByteBuffer(
            string: """
                HTTP/1.1 \(self.status) \(reason)\r
                Content-Type: text/plain; charset=utf-8\r
                Content-Length: \(text.utf8.count)\r
                Connection: close\r
                \r
                \(method == "HEAD" ? "" : text)
                """
        )
    }
}

extension RelayFailure.Cause {
    /// - Parameter limit: of a connection that was not there in time.
    init(_ error: any Error, limit: Duration) {
        switch error {
        case let error as NIOConnectionError:
            if let first = error.connectionErrors.first {
                self.init(first.error, limit: limit)
            } else {
                self = .unresolved
            }
        case let error as IOError: self.init(errno: error.errnoCode, limit: limit)
        case ChannelError.connectTimeout: self = .timedOut(limit)
        case ChannelError.eof, ChannelError.ioOnClosedChannel, ChannelError.alreadyClosed: self = .closed
        case let error as NIOSSLError: self = .tls(TLSFailure.text(error))
        case let error as NIOSSLExtraError: self = .tls(TLSFailure.text(error))
        default: self = .io("\(error)")
        }
    }

    private init(errno: CInt, limit: Duration) {
        switch errno {
        case ECONNREFUSED: self = .refused
        case ETIMEDOUT: self = .timedOut(limit)
        case ECONNRESET, EPIPE: self = .closed
        default: self = .io(String(cString: strerror(errno)))
        }
    }
}
