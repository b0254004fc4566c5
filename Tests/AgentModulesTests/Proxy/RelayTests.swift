import Logging
import NIOCore
import NIOPosix
import Testing

@testable import AgentModules

/// Opens a relay for the time of `body`. Afterwards, none of its connections is left.
func listening<Result: Sendable>(
    _ route: UpstreamRoute,
    authorities: String? = nil,
    limits: UpstreamRelay.Limits = .init(),
    _ body: @Sendable (RelayListener) async throws -> Result
) async throws -> Result {
    let relay = UpstreamRelay(
        eventLoop: MultiThreadedEventLoopGroup.singleton.next(),
        authorities: authorities,
        limits: limits,
        logger: .silent
    )
    let listener = try await relay.open(route)
    do {
        let result = try await body(listener)
        await listener.close()
        #expect(await listener.openConnections == 0)
        return result
    } catch {
        await listener.close()
        throw error
    }
}

/// As ``listening(_:authorities:limits:_:)``; `body` is given the port.
func relaying<Result: Sendable>(
    _ route: UpstreamRoute,
    authorities: String? = nil,
    limits: UpstreamRelay.Limits = .init(),
    _ body: @Sendable (Int) async throws -> Result
) async throws -> Result {
    try await listening(route, authorities: authorities, limits: limits) { try await body($0.port) }
}

@Suite("Relay, over real connections", .timeLimit(.minutes(1)))
struct RelayTests {
    static func proxy(_ port: Int, _ credentials: String = "bob:s3cret@", scheme: String = "http") throws
        -> UpstreamRoute
    {
        .proxy(try UpstreamProxy("\(scheme)://\(credentials)127.0.0.1:\(port)"))
    }

    @Test("a tunnel through an http proxy has the credentials, and what follows its head is the target's")
    func tunnel() async throws {
        try await TestStream.serve { proxy in
            let head = try await proxy.readHead()
            #expect(
                head == "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n"
                    + "Proxy-Authorization: Basic Ym9iOnMzY3JldA==\r\n\r\n"
            )
            try await proxy.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")
            #expect(try await proxy.readToEnd() == "hello")
            try await proxy.write("bye")
        } _: { port in
            try await relaying(try Self.proxy(port)) { port in
                try await TestStream.connect(to: port) { client in
                    try await client.write(
                        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nProxy-Authorization: Basic no\r\n\r\nhel"
                    )
                    #expect(try await client.readHead() == "HTTP/1.1 200 Connection established\r\n\r\n")
                    #expect(try await client.read(count: 5) == ByteBuffer(string: "early"))
                    try await client.write("lo")
                    client.end()
                    #expect(try await client.readToEnd() == "bye")
                }
            }
        }
    }

    @Test("each of several requests on one connection has the credentials", arguments: [true, false])
    func requests(isPipelined: Bool) async throws {
        try await TestStream.serve { proxy in
            for number in 0..<3 {
                let head = try await proxy.readHead()
                #expect(
                    head == "POST http://example.com/\(number)?a HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n"
                        + "Proxy-Authorization: Basic Ym9iOnMzY3JldA==\r\n\r\n"
                )
                #expect(try await proxy.read(count: 4) == ByteBuffer(string: "body"))
                try await proxy.write(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\(number)\r\n0\r\n\r\n"
                )
            }
            #expect(try await proxy.readToEnd() == "")
        } _: { port in
            try await relaying(try Self.proxy(port)) { port in
                try await TestStream.connect(to: port) { client in
                    let requests = (0..<3).map {
                        "POST http://example.com/\($0)?a HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nbody"
                    }
                    if isPipelined { try await client.write(requests.joined()) }
                    for number in 0..<3 {
                        if !isPipelined { try await client.write(requests[number]) }
                        let answer = try await client.read(through: "0\r\n\r\n")
                        #expect(
                            answer
                                == "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\(number)\r\n0\r\n\r\n"
                        )
                    }
                    client.end()
                    #expect(try await client.readToEnd() == "")
                }
            }
        }
    }

    @Test("without a proxy, a request goes to its server, the next one to another")
    func direct() async throws {
        let server: @Sendable (String) -> @Sendable (TestStream) async throws -> Void = { name in
            { stream in
                while let head = try? await stream.readHead() {
                    let text = "\(name): \(head.split(separator: "\r\n").joined(separator: "|"))"
                    try await stream.write("HTTP/1.1 200 OK\r\nContent-Length: \(text.utf8.count + 1)\r\n\r\n\(text)\n")
                }
            }
        }
        try await TestStream.serve(server("a")) { a in
            try await TestStream.serve(server("b")) { b in
                try await relaying(.direct) { port in
                    try await TestStream.connect(to: port) { client in
                        for (name, port) in [("a", a), ("a", a), ("b", b), ("a", a)] {
                            try await client.write(
                                "GET http://127.0.0.1:\(port)?q HTTP/1.1\r\nHost: x\r\nProxy-Connection: keep-alive\r\nA: b\r\n\r\n"
                            )
                            _ = try await client.readHead()
                            #expect(try await client.read(through: "\n") == "\(name): GET /?q HTTP/1.1|Host: x|A: b\n")
                        }
                    }
                }
            }
        }
    }

    @Test("through https, the proxy's certificate verified: by the authorities given, for its own name")
    func https() async throws {
        try await withFolder { folder in
            let certificate = try await TestCertificate.make(in: folder)
            let path = certificate.path
            try await TestStream.serve(tls: certificate.server) { proxy in
                // The handshakes that fail end here.
                guard let head = try? await proxy.readHead() else { return }
                #expect(head == "CONNECT h:1 HTTP/1.1\r\nProxy-Authorization: Basic Ym9iOnMzY3JldA==\r\n\r\n")
                try await proxy.write("HTTP/1.1 200 OK\r\n\r\n")
                #expect(try await proxy.readToEnd() == "hello")
                try await proxy.write("bye")
            } _: { port in
                let localhost = UpstreamRoute.proxy(try UpstreamProxy("https://bob:s3cret@localhost:\(port)"))
                for route in [localhost, try Self.proxy(port, scheme: "https")] {
                    try await relaying(route, authorities: path) { port in
                        try await TestStream.connect(to: port) { client in
                            try await client.write("CONNECT h:1 HTTP/1.1\r\n\r\nhello")
                            client.end()
                            _ = try await client.readHead()
                            #expect(try await client.readToEnd() == "bye")
                        }
                    }
                    let answer = try await Self.answer(to: "CONNECT h:1 HTTP/1.1\r\n\r\n", route)
                    #expect(answer.hasPrefix("HTTP/1.1 502 the upstream proxy "))
                    #expect(
                        answer.contains("the server's certificate is not one that this system's authorities vouch for")
                    )
                }
                let wrong = UpstreamRoute.proxy(try UpstreamProxy("https://bob:s3cret@127.0.0.2:\(port)"))
                let error = await #expect(throws: ModuleError.self) {
                    try await relaying(wrong, authorities: folder) { _ in }
                }
                #expect(error?.kind == "upstream")
            }
            let other = try await TestCertificate.make(in: folder, names: "DNS:elsewhere")
            try await TestStream.serve(tls: other.server) { _ in
            } _: { port in
                let route = UpstreamRoute.proxy(try UpstreamProxy("https://localhost:\(port)"))
                let answer = try await Self.answer(to: "CONNECT h:1 HTTP/1.1\r\n\r\n", route, authorities: path)
                #expect(answer.contains("can't be reached over TLS"))
            }
        }
    }

    /// All that one request is answered with, up to the end of the connection.
    static func answer(
        to request: String,
        _ route: UpstreamRoute,
        authorities: String? = nil,
        limits: UpstreamRelay.Limits = .init(),
        endsRequest: Bool = false
    ) async throws -> String {
        try await relaying(route, authorities: authorities, limits: limits) { port in
            try await TestStream.connect(to: port) { client in
                try await client.write(request)
                if endsRequest { client.end() }
                return try await client.readToEnd()
            }
        }
    }

    /// The proxy's part of SOCKS 5, with user and password.
    static func acceptSOCKS(_ proxy: TestStream, host: String, port: UInt16) async throws {
        #expect(try await proxy.read(count: 4) == ByteBuffer(bytes: [5, 2, 0, 2]))
        try await proxy.write(ByteBuffer(bytes: [5, 2]))
        #expect(
            try await proxy.read(count: 12)
                == ByteBuffer(bytes: [1, 3] + Array("bob".utf8) + [6] + Array("s3cret".utf8))
        )
        try await proxy.write(ByteBuffer(bytes: [1, 0]))
        let request = [5, 1, 0, 3, UInt8(host.utf8.count)] + Array(host.utf8) + [UInt8(port >> 8), UInt8(port & 0xFF)]
        #expect(try await proxy.read(count: request.count) == ByteBuffer(bytes: request))
        try await proxy.write(ByteBuffer(bytes: [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]))
    }

    @Test("through SOCKS 5: a tunnel, and a request")
    func socks() async throws {
        try await TestStream.serve { proxy in
            try await Self.acceptSOCKS(proxy, host: "example.com", port: 443)
            #expect(try await proxy.readToEnd() == "hello")
            try await proxy.write("bye")
        } _: { port in
            let received = try await Self.answer(
                to: "CONNECT example.com:443 HTTP/1.1\r\n\r\nhello",
                try Self.proxy(port, scheme: "socks5h"),
                endsRequest: true
            )
            #expect(received == "HTTP/1.1 200 Connection established\r\n\r\nbye")
        }
        let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it"
        try await TestStream.serve { proxy in
            try await Self.acceptSOCKS(proxy, host: "example.com", port: 80)
            #expect(try await proxy.readHead() == "GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n")
            try await proxy.write(answer)
        } _: { port in
            let received = try await Self.answer(
                to: "GET http://example.com/a HTTP/1.1\r\nHost: example.com\r\n\r\n",
                try Self.proxy(port, scheme: "socks5")
            )
            #expect(received == answer)
        }
    }

    @Test("an upgrade over plain HTTP leads to bytes both ways, whatever they look like", arguments: [true, false])
    func upgrade(isDirect: Bool) async throws {
        try await TestStream.serve { server in
            let head = try await server.readHead()
            #expect(head.hasPrefix(isDirect ? "GET /chat HTTP/1.1\r\n" : "GET http://127.0.0.1:"))
            try await server.write(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\u{1}"
            )
            for _ in 0..<3 {
                let bytes = try await server.read(count: 21)
                try await server.write(bytes)
            }
            #expect(try await server.readToEnd() == "")
        } _: { port in
            try await relaying(isDirect ? .direct : try Self.proxy(port)) { relay in
                try await TestStream.connect(to: relay) { client in
                    try await client.write(
                        "GET http://127.0.0.1:\(port)/chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                    )
                    #expect(try await client.readHead().hasPrefix("HTTP/1.1 101 "))
                    #expect(try await client.read(count: 1) == ByteBuffer(bytes: [1]))
                    for _ in 0..<3 {
                        let text = "GET / HTTP/9.9\r\n\r\n\u{0}\n\u{7F}"
                        try await client.write(text)
                        #expect(String(buffer: try await client.read(count: 21)) == text)
                    }
                    client.end()
                    #expect(try await client.readToEnd() == "")
                }
            }
        }
    }

    @Test("Expect: 100-continue: the body is sent once the server wants it")
    func expectContinue() async throws {
        try await TestStream.serve { server in
            _ = try await server.readHead()
            try await server.write("HTTP/1.1 100 Continue\r\n\r\n")
            #expect(try await server.read(count: 4) == ByteBuffer(string: "body"))
            try await server.write("HTTP/1.1 204 No Content\r\n\r\n")
        } _: { port in
            try await relaying(.direct) { relay in
                try await TestStream.connect(to: relay) { client in
                    try await client.write(
                        "PUT http://127.0.0.1:\(port)/ HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
                    )
                    #expect(try await client.readHead() == "HTTP/1.1 100 Continue\r\n\r\n")
                    try await client.write("body")
                    #expect(try await client.readHead() == "HTTP/1.1 204 No Content\r\n\r\n")
                }
            }
        }
    }

    static let block = ByteBuffer(repeating: 120, count: 1 << 20)

    @Test("large bodies both ways: in a tunnel, with a length, in chunks", arguments: ["tunnel", "length", "chunks"])
    func large(kind: String) async throws {
        let blocks = 32
        let size = blocks * Self.block.readableBytes
        let line = "\(String(Self.block.readableBytes, radix: 16))\r\n"
        @Sendable func send(_ stream: TestStream) async throws {
            for _ in 0..<blocks {
                if kind == "chunks" { try await stream.write(line) }
                try await stream.write(Self.block)
                if kind == "chunks" { try await stream.write("\r\n") }
            }
            if kind == "chunks" { try await stream.write("0\r\n\r\n") }
        }
        @Sendable func receive(_ stream: TestStream) async throws {
            for _ in 0..<blocks {
                if kind == "chunks" {
                    #expect(try await stream.read(count: line.utf8.count) == ByteBuffer(string: line))
                }
                #expect(try await stream.read(count: Self.block.readableBytes) == Self.block)
                if kind == "chunks" { _ = try await stream.read(count: 2) }
            }
            if kind == "chunks" { #expect(try await stream.read(count: 5) == ByteBuffer(string: "0\r\n\r\n")) }
        }
        let framing =
            switch kind {
            case "length": "Content-Length: \(size)\r\n"
            case "chunks": "Transfer-Encoding: chunked\r\n"
            default: ""
            }
        try await TestStream.serve { server in
            if kind != "tunnel" { _ = try await server.readHead() }
            try await receive(server)
            if kind != "tunnel" { try await server.write("HTTP/1.1 200 OK\r\n\(framing)\r\n") }
            try await send(server)
        } _: { port in
            try await relaying(.direct) { relay in
                try await TestStream.connect(to: relay) { client in
                    if kind == "tunnel" {
                        try await client.write("CONNECT 127.0.0.1:\(port) HTTP/1.1\r\n\r\n")
                        _ = try await client.readHead()
                    } else {
                        try await client.write("POST http://127.0.0.1:\(port)/ HTTP/1.1\r\n\(framing)\r\n")
                    }
                    try await send(client)
                    if kind != "tunnel" { _ = try await client.readHead() }
                    try await receive(client)
                }
            }
        }
    }

    @Test("who reads slowly is sent no faster, in either direction", arguments: [true, false])
    func backPressure(isDownload: Bool) async throws {
        let blocks = 512
        let sent = Collected<Int>()
        let mayRead = AsyncStream.makeStream(of: Void.self)
        @Sendable func send(_ stream: TestStream) async throws {
            for _ in 0..<blocks {
                try await stream.write(Self.block)
                sent.add(1)
            }
            stream.end()
        }
        @Sendable func receive(_ stream: TestStream) async throws {
            for await _ in mayRead.stream { break }
            #expect(try await stream.countToEnd() == blocks * Self.block.readableBytes)
        }
        try await TestStream.serve { server in
            // Something must be read for the connection to have begun.
            _ = try await server.read(count: 1)
            try await isDownload ? send(server) : receive(server)
        } _: { port in
            try await listening(.direct) { listener in
                try await TestStream.connect(to: listener.port) { client in
                    try await client.write("CONNECT 127.0.0.1:\(port) HTTP/1.1\r\n\r\n!")
                    _ = try await client.readHead()
                    try await withThrowingTaskGroup { group in
                        group.addTask {
                            // Until the sender stands still.
                            var (last, same) = (-1, 0)
                            while same < 30 {
                                try await Task.sleep(for: .milliseconds(10))
                                let now = sent.values.count
                                same = now == last && now > 0 ? same + 1 : 0
                                last = now
                            }
                            #expect(last < blocks, "more is to be sent than all buffers on the way hold")
                            #expect(await listener.heldBytes < 1 << 20)
                            mayRead.continuation.yield()
                        }
                        try await isDownload ? receive(client) : send(client)
                        try await group.waitForAll()
                    }
                    if !isDownload { #expect(try await client.readToEnd() == "") }
                }
            }
        }
    }

    @Test("an answer that is cut off, by an end or by a reset, does not look complete", arguments: [true, false])
    func cutOff(isReset: Bool) async throws {
        for head in [
            "Content-Length: 9\r\n", "Transfer-Encoding: chunked\r\n", isReset ? "" : "Content-Length: 99\r\n",
        ] {
            try await TestStream.serve { server in
                _ = try await server.readHead()
                try await server.write("HTTP/1.1 200 OK\r\n\(head)\r\n5\r\nab")
                if isReset {
                    _ = try await server.read(count: 1)
                    try await server.reset()
                }
            } _: { port in
                try await relaying(.direct) { relay in
                    try await TestStream.connect(to: relay) { client in
                        try await client.write("POST http://127.0.0.1:\(port)/ HTTP/1.1\r\nContent-Length: 2\r\n\r\n")
                        _ = try await client.read(through: "ab")
                        if isReset { try await client.write("x") }
                        await #expect(throws: IOError.self) { try await client.readToEnd() }
                    }
                }
            }
        }
    }

    @Test("a client that breaks off takes its upstream with it")
    func clientReset() async throws {
        let (ends, continuation) = AsyncStream.makeStream(of: Bool.self)
        try await TestStream.serve { server in
            _ = try await server.read(count: 1)
            try await server.write("?")
            do {
                _ = try await server.readToEnd()
                continuation.yield(false)
            } catch {
                continuation.yield(true)
            }
        } _: { port in
            try await relaying(.direct) { relay in
                try await TestStream.connect(to: relay) { client in
                    try await client.write("CONNECT 127.0.0.1:\(port) HTTP/1.1\r\n\r\n!")
                    _ = try await client.read(through: "?")
                    try await client.reset()
                }
                for await wasReset in ends {
                    #expect(wasReset)
                    break
                }
            }
        }
    }
}
