import NIOCore
import Testing

@testable import AgentModules

@Suite("Relay: what follows from what")
struct RelayMachineTests {
    static func httpProxy() throws -> UpstreamRoute { .proxy(try UpstreamProxy("http://bob:pw@proxy:8080")) }

    enum Event {
        case client(String), clientEnd
        case connected, failed(RelayFailure.Cause), upstream(String), upstreamEnd(isClean: Bool)

        var length: Int {
            switch self {
            case .client(let text), .upstream(let text): text.utf8.count
            default: 0
            }
        }
    }

    /// What was done in all: the bytes to either side put together, since where they were cut means nothing.
    struct Outcome: Equatable {
        var toClient = ""
        var toUpstream = ""
        var other: [RelayMachine.Action] = []
        var wantsClient = false
    }

    struct Run {
        var machine: RelayMachine
        var outcome = Outcome()

        init(_ route: UpstreamRoute) { self.machine = RelayMachine(route: route) }

        mutating func add(_ actions: [RelayMachine.Action]) {
            for action in actions {
                switch action {
                case .toClient(let bytes): self.outcome.toClient += String(buffer: bytes)
                case .toUpstream(let bytes): self.outcome.toUpstream += String(buffer: bytes)
                case .report: break
                default: self.outcome.other.append(action)
                }
            }
            self.outcome.wantsClient = self.machine.wantsClient
        }

        mutating func apply(_ event: Event, cut: Int? = nil) {
            switch event {
            case .client(let text): for piece in Self.cut(text, cut) { self.add(self.machine.clientReceived(piece)) }
            case .clientEnd: self.add(self.machine.clientEnded())
            case .connected: self.add(self.machine.upstreamConnected())
            case .failed(let cause): self.add(self.machine.upstreamFailed(cause))
            case .upstream(let text):
                for piece in Self.cut(text, cut) { self.add(self.machine.upstreamReceived(piece)) }
            case .upstreamEnd(let isClean): self.add(self.machine.upstreamEnded(isClean: isClean))
            }
        }

        /// - Parameter cut: where the bytes are cut; 0 for pieces of one byte.
        private static func cut(_ text: String, _ cut: Int?) -> [ByteBuffer] {
            let bytes = Array(text.utf8)
            switch cut {
            case nil: return [ByteBuffer(bytes: bytes)]
            case 0: return bytes.map { ByteBuffer(bytes: [$0]) }
            case let cut?:
                return [ByteBuffer(bytes: bytes.prefix(cut)), ByteBuffer(bytes: bytes.dropFirst(cut))].filter {
                    $0.readableBytes > 0
                }
            }
        }
    }

    /// Runs the events with every cut of their bytes; the outcome must be the same.
    static func run(_ route: UpstreamRoute, _ events: [Event], sourceLocation: SourceLocation = #_sourceLocation)
        -> Outcome
    {
        func outcome(cut: Int?) -> Outcome {
            var run = Run(route)
            for event in events { run.apply(event, cut: cut) }
            return run.outcome
        }
        let whole = outcome(cut: nil)
        let longest = events.map(\.length).max() ?? 0
        let wrong = (0..<longest).filter { outcome(cut: $0) != whole }
        #expect(wrong.isEmpty, "cut there, the outcome is another", sourceLocation: sourceLocation)
        return whole
    }

    static let proxyAddress = HostPort(host: "proxy", port: 8080)
    static let authorization = "Proxy-Authorization: Basic Ym9iOnB3\r\n"
    static let connected = "HTTP/1.1 200 Connection established\r\n\r\n"
    static let get = "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n"
    static let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    @Test("a tunnel through an HTTP proxy; the client ends first")
    func tunnel() throws {
        let outcome = try Self.run(
            Self.httpProxy(),
            [
                .client("CONNECT h:1 HTTP/1.1\r\nA: b\r\n\r\nearly"), .connected,
                .upstream("HTTP/1.1 200 OK\r\n\r\nserver"), .client(" late"), .upstream(" bytes"), .clientEnd,
                .upstreamEnd(isClean: true),
            ]
        )
        #expect(outcome.toUpstream == "CONNECT h:1 HTTP/1.1\r\nA: b\r\n\(Self.authorization)\r\nearly late")
        #expect(outcome.toClient == Self.connected + "server bytes")
        #expect(outcome.other == [.dial(Self.proxyAddress), .endUpstream, .endClient, .close])
    }

    @Test("a tunnel whose client ends before it is open is ended when it is")
    func earlyEnd() throws {
        let outcome = Self.run(
            .direct,
            [
                .client("CONNECT h:1 HTTP/1.1\r\n\r\nall"), .clientEnd, .connected, .upstream("x"),
                .upstreamEnd(isClean: false),
            ]
        )
        #expect(outcome.toUpstream == "all")
        #expect(outcome.toClient == Self.connected + "x")
        #expect(outcome.other == [.dial(HostPort(host: "h", port: 1)), .endUpstream, .endClient, .close])
    }

    @Test("SOCKS: the way to the target, then its bytes; and requests as their server wants them")
    func socks() throws {
        let route = UpstreamRoute.proxy(try UpstreamProxy("socks5://proxy"))
        let (greeting, request) = ("\u{5}\u{1}\u{0}", "\u{5}\u{1}\u{0}\u{3}\u{1}h\u{0}P")
        let reply = "\u{5}\u{0}\u{5}\u{0}\u{0}\u{1}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}"
        let tunnel = Self.run(
            route,
            [.client("CONNECT h:80 HTTP/1.1\r\n\r\nearly"), .connected, .upstream(reply + "banner")]
        )
        #expect(tunnel.toUpstream == greeting + request + "early")
        #expect(tunnel.toClient == Self.connected + "banner")
        let requests = Self.run(
            route,
            [
                .client(Self.get), .connected, .upstream(reply), .upstream(Self.ok), .client(Self.get),
                .upstream(Self.ok),
            ]
        )
        #expect(
            requests.toUpstream == greeting + request + String(repeating: "GET / HTTP/1.1\r\nHost: h\r\n\r\n", count: 2)
        )
        #expect(requests.toClient == Self.ok + Self.ok)
        #expect(requests.other == [.dial(HostPort(host: "proxy", port: 1080))])
    }

    @Test("requests wait for the answers before them, and each has the credentials")
    func pipeline() throws {
        let post = "POST http://h/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        let head = "HEAD http://i/ HTTP/1.1\r\nProxy-Authorization: theirs\r\n\r\n"
        let authorized = { (text: String) in
            text.replacing("\r\n\r\n", with: "\r\n\(Self.authorization)\r\n", maxReplacements: 1)
        }
        let route = try Self.httpProxy()
        let first = Self.run(route, [.client(post + head + Self.get), .connected])
        #expect(first.toUpstream == authorized(post))
        #expect(!first.wantsClient)
        let answer = "HTTP/1.1 100 Continue\r\n\r\n" + Self.ok
        let headAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
        let all = Self.run(
            route,
            [
                .client(post + head + Self.get), .connected, .upstream(answer), .upstream(headAnswer),
                .upstream(Self.ok),
                .clientEnd,
            ]
        )
        #expect(
            all.toUpstream
                == authorized(post) + "HEAD http://i/ HTTP/1.1\r\n\(Self.authorization)\r\n" + authorized(Self.get)
        )
        #expect(all.toClient == answer + headAnswer + Self.ok)
        #expect(all.other == [.dial(Self.proxyAddress), .close])
    }

    @Test("directly, a request for another server has a connection of its own; one tunnel may follow")
    func servers() throws {
        let outcome = Self.run(
            .direct,
            [
                .client(Self.get), .connected, .upstream(Self.ok), .client(Self.get.replacing("//h", with: "//i:81")),
                .connected, .upstream(Self.ok), .client("CONNECT i:81 HTTP/1.1\r\n\r\n"), .connected, .upstream("x"),
            ]
        )
        #expect(
            outcome.other == [
                .dial(HostPort(host: "h", port: 80)), .dial(HostPort(host: "i", port: 81)),
                .dial(HostPort(host: "i", port: 81)),
            ]
        )
        #expect(outcome.toClient == Self.ok + Self.ok + Self.connected + "x")
    }

    @Test("after 101 the bytes are nobody's to read; without it the next request is read")
    func upgrade() throws {
        let request = "GET http://h/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        let switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
        let raw = "GET / is no request here"
        let upgraded = Self.run(
            .direct,
            [
                .client(request), .connected, .upstream(switching + "\u{1}\u{2}"), .client(raw),
                .upstream("HTTP/1.1 x"),
                .clientEnd,
            ]
        )
        #expect(
            upgraded.toUpstream == request.replacing("http://h/", with: "/").replacing(
                "\r\n\r\n",
                with: "\r\nHost: h\r\n\r\n"
            ) + raw
        )
        #expect(upgraded.toClient == switching + "\u{1}\u{2}HTTP/1.1 x")
        #expect(upgraded.other.last == .endUpstream)
        let refused = Self.run(
            .direct,
            [.client(request + Self.get), .connected, .upstream(Self.ok), .upstream(Self.ok)]
        )
        #expect(refused.toClient == Self.ok + Self.ok)
        let unasked = Self.run(.direct, [.client(Self.get), .connected, .upstream(switching)])
        #expect(unasked.toClient.contains("another protocol, which was not asked for"))
    }

    @Test("ends of the upstream: between requests, before an answer, within it, and as its end")
    func upstreamEnds() throws {
        let begin = [Event.client(Self.get), .connected]
        func ends(_ answer: String, _ end: Event) -> Outcome { Self.run(.direct, begin + [.upstream(answer), end]) }
        let clean = Event.upstreamEnd(isClean: true)
        #expect(ends(Self.ok, clean).other.last == .finish)
        let none = ends("", clean)
        #expect(none.toClient.hasPrefix("HTTP/1.1 502 h:80 closed the connection without an answer\r\n"))
        #expect(none.toClient.hasSuffix("\r\n\r\narmada-agent: h:80 closed the connection without an answer\n"))
        #expect(none.other.last == .finish)
        let length = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"
        #expect(
            ends(length, clean)
                == Outcome(toClient: length, toUpstream: none.toUpstream, other: [none.other[0], .reset])
        )
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
        #expect(ends(chunked, clean).other.last == .reset)
        let untilClose = "HTTP/1.0 200 OK\r\n\r\nok"
        #expect(ends(untilClose, clean).toClient == untilClose)
        #expect(ends(untilClose, clean).other.last == .finish)
        #expect(ends(untilClose, .upstreamEnd(isClean: false)).other.last == .reset)
        #expect(ends(untilClose, .failed(.closed)).other.last == .reset)
        #expect(ends("", .failed(.closed)).toClient.hasPrefix("HTTP/1.1 502 "))
        #expect(ends("HTTP/1.1 100 Continue\r\n\r\n", clean).toClient.contains("HTTP/1.1 502 "))
        #expect(ends("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", clean).other.last == .finish)
        #expect(ends("SSH-2.0\r\n\r\n", clean).toClient.contains("gave an answer that is not HTTP/1.1"))
        #expect(ends(Self.ok + "more", clean).toClient == Self.ok, "what nobody has asked for")
    }

    @Test("ends of the client: a request in halves is none, an answer is passed on to its end")
    func clientEnds() throws {
        let post = "POST http://h/ HTTP/1.1\r\nContent-Length: 3\r\n\r\n"
        #expect(Self.run(.direct, [.clientEnd]).other == [.close])
        #expect(Self.run(.direct, [.client("GET http"), .clientEnd]).other == [.close])
        #expect(Self.run(.direct, [.client(post), .connected, .client("ab"), .clientEnd]).other.last == .reset)
        #expect(Self.run(.direct, [.client(post + "ab"), .clientEnd, .connected]).other.last == .reset)
        let answered = Self.run(.direct, [.client(Self.get), .clientEnd, .connected, .upstream(Self.ok)])
        #expect(answered.toClient == Self.ok)
        #expect(answered.other.last == .close)
    }

    @Test("aborted, both sides are reset, even where the end had begun in order")
    func aborted() {
        for events in [[Event.client("CONNECT h:1 HTTP/1.1\r\n\r\n"), .connected, .clientEnd], [.clientEnd]] {
            var run = Run(.direct)
            for event in events { run.apply(event) }
            #expect(run.machine.aborted() == [.reset])
            #expect(run.machine.clientClosed().isEmpty)
        }
    }

    @Test("an answer before the request is complete: the rest of the request is still the upstream's")
    func earlyAnswer() throws {
        let post = "POST http://h/ HTTP/1.1\r\nContent-Length: 3\r\n\r\n"
        let outcome = Self.run(
            .direct,
            [.client(post + "a"), .connected, .upstream(Self.ok), .client("bc" + Self.get), .upstream(Self.ok)]
        )
        #expect(outcome.toUpstream.hasSuffix("\r\n\r\nabcGET / HTTP/1.1\r\nHost: h\r\n\r\n"))
        #expect(outcome.toClient == Self.ok + Self.ok)
    }

    @Test(
        "what is no request to a proxy",
        arguments: [
            "GET / HTTP/1.1\r\n\r\n", "GET https://h/ HTTP/1.1\r\n\r\n", "CONNECT h HTTP/1.1\r\n\r\n", "hello\r\n\r\n",
            "POST http://h/ HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        ]
    )
    func badRequests(text: String) throws {
        let outcome = Self.run(.direct, [.client(text)])
        #expect(outcome.toClient.hasPrefix("HTTP/1.1 400 not a request to a proxy: "))
        #expect(outcome.other == [.finish])
    }

    @Test("a proxy that is not there, or unwilling: the client is told, without credentials")
    func refusals() throws {
        let route = try Self.httpProxy()
        let connect = Event.client("CONNECT h:1 HTTP/1.1\r\n\r\n")
        func answer(_ events: [Event]) -> String { Self.run(route, [connect] + events).toClient }
        #expect(
            answer([.failed(.refused)]).hasPrefix(
                "HTTP/1.1 502 the upstream proxy proxy:8080 refused the connection\r\n"
            )
        )
        #expect(
            answer([.failed(.timedOut(.seconds(10)))])
                .hasPrefix("HTTP/1.1 504 the upstream proxy proxy:8080 did not answer within 10 s\r\n")
        )
        #expect(answer([.connected, .failed(.timedOut(.seconds(10)))]).hasPrefix("HTTP/1.1 504 "))
        let length = "Content-Length: 14\r\n\r\n"
        #expect(
            answer([.connected, .upstream("HTTP/1.1 403 Forbidden\r\n\(length)not bob, never")])
                .hasPrefix(
                    "HTTP/1.1 403 the upstream proxy proxy:8080 did not connect to h:1: 403 Forbidden: not ***, never\r\n"
                )
        )
        let credentials = answer([
            .connected, .upstream("HTTP/1.1 407 Who?\r\n\(length)Ym9iOnB3 wrong"), .upstreamEnd(isClean: true),
        ])
        #expect(
            credentials.hasPrefix(
                "HTTP/1.1 502 the upstream proxy proxy:8080 refused our credentials: 407 Who?: *** wrong\r\n"
            )
        )
        let plain = Self.run(
            .proxy(try UpstreamProxy("proxy")),
            [.client(Self.get), .connected, .upstream("HTTP/1.1 407 Who?\r\n\(length)")]
        )
        #expect(plain.toClient.contains("wants credentials, and there are none in its URL: 407 Who?"))
        // A proxy that says why, and then nothing.
        #expect(
            answer([.connected, .upstream("HTTP/1.1 500 Oh\r\n\(length)well"), .failed(.timedOut(.seconds(10)))])
                .hasPrefix("HTTP/1.1 500 the upstream proxy proxy:8080 did not connect to h:1: 500 Oh: well\r\n")
        )
        #expect(answer([.connected, .upstream("nonsense\r\n\r\n")]).contains("gave an answer that is not HTTP/1.1"))
        #expect(answer([.connected, .upstreamEnd(isClean: true)]).contains("closed the connection without an answer"))
        let head = Self.run(route, [.client("HEAD http://h/ HTTP/1.1\r\n\r\n"), .failed(.unresolved)]).toClient
        #expect(head.hasSuffix("\r\n\r\n"))
    }

    @Test("no bytes of either side, changed anywhere, end in a trap")
    func changedBytes() throws {
        let client =
            "POST http://h/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\nUpgrade: x\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            + Self.get
        let upstream =
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
            + Self.ok
        let socks = UpstreamRoute.proxy(try UpstreamProxy("socks5://u:p@proxy"))
        let reply: [UInt8] = [5, 2, 1, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        var hasEnded = true
        for (route, upstream) in [(UpstreamRoute.direct, Array(upstream.utf8)), (socks, reply + Array(upstream.utf8))] {
            for position in 0..<max(client.utf8.count, upstream.count) {
                for byte in [0, 10, 48, 255] as [UInt8] {
                    var (fromClient, fromUpstream) = (Array(client.utf8), upstream)
                    if position < fromClient.count { fromClient[position] = byte }
                    if position < fromUpstream.count { fromUpstream[position] = byte }
                    for (client, upstream) in [(fromClient, upstream), (Array(client.utf8), fromUpstream)] {
                        var machine = RelayMachine(route: route)
                        _ = machine.clientReceived(ByteBuffer(bytes: client))
                        _ = machine.upstreamConnected()
                        for start in stride(from: 0, to: upstream.count, by: 9) {
                            _ = machine.upstreamReceived(ByteBuffer(bytes: upstream[start...].prefix(9)))
                        }
                        _ = machine.clientReceived(ByteBuffer(bytes: client))
                        _ = machine.upstreamEnded(isClean: true)
                        _ = machine.clientEnded()
                        _ = machine.clientClosed()
                        hasEnded = hasEnded && machine.state == .ended
                    }
                }
            }
        }
        #expect(hasEnded)
    }
}
