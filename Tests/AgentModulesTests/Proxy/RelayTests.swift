import Logging
import NIOCore
import NIOPosix
import Testing

@testable import AgentModules

/// Opens a relay for the time of `body`, which is given its port. Afterwards, none of its connections is left.
func relaying<Result: Sendable>(
    _ route: UpstreamRoute,
    authorities: String? = nil,
    limits: UpstreamRelay.Limits = .init(),
    _ body: @Sendable (Int) async throws -> Result
) async throws -> Result {
    let relay = UpstreamRelay(
        eventLoop: MultiThreadedEventLoopGroup.singleton.next(),
        authorities: authorities,
        limits: limits,
        logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    )
    let listener = try await relay.open(route)
    do {
        let result = try await body(listener.port)
        await listener.close()
        #expect(await listener.openConnections == 0)
        return result
    } catch {
        await listener.close()
        throw error
    }
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
}
