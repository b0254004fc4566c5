import Glibc
import NIOCore
import NIOPosix
import Testing

@testable import Agent

@Suite("Redis connection, on real servers", .timeLimit(.minutes(2)))
struct RedisConnectionTests {
    private static func error(of configuration: RedisConfiguration) async -> RedisError? {
        await #expect(throws: RedisError.self) { try await RedisServer.get("k", configuration) }
    }

    @Test("GET, a key that is missing, a key that is no string, another database")
    func get() async throws {
        try await RedisServer.run { server in
            try await server.cli("SET", "k", "value")
            try await server.cli("-n", "3", "SET", "k", "third")
            try await server.cli("LPUSH", "list", "a")
            #expect(try await RedisServer.get("k", server.configuration) == "value")
            #expect(try await RedisServer.get("missing", server.configuration) == nil)
            await #expect(throws: RedisError.wrongType(key: "list")) {
                try await RedisServer.get("list", server.configuration)
            }
            var third = server.configuration
            third.database = 3
            #expect(try await RedisServer.get("k", third) == "third")
            third.database = 999
            let refused = await Self.error(of: third)
            #expect(refused == .refused(command: "SELECT", reason: "ERR DB index is out of range"))
        }
    }

    @Test("a large value, and several commands on one connection")
    func large() async throws {
        try await RedisServer.run { server in
            try await server.cli("SETRANGE", "large", "20000000", "x")
            let loop = MultiThreadedEventLoopGroup.singleton.next()
            try await RedisConnection.withConnection(to: server.configuration, on: loop) { connection in
                for _ in 0..<3 {
                    let value = try await connection.get("large")
                    #expect(value?.readableBytes == 20_000_001)
                }
            }
            var bounded = server.configuration
            bounded.maximumValue = 1000
            await #expect(
                throws: RedisError.protocolViolation(reason: "a value of 20000001 bytes, more than the 1000 allowed")
            ) {
                try await RedisServer.get("large", bounded)
            }
        }
    }

    @Test("user and password, password alone, none, wrong ones")
    func authentication() async throws {
        let users =
            "--user default on >for-all ~* +@all --user agent on >s3cret ~* +get +select --user blind on >s3cret ~* +select"
            .split(separator: " ").map(String.init)
        try await RedisServer.run(arguments: users) { server in
            try await server.cli("-a", "for-all", "SET", "k", "value")
            var configuration = server.configuration
            #expect(await Self.error(of: configuration) == .authenticationFailed(code: "NOAUTH"))
            configuration.password = "for-all"
            #expect(try await RedisServer.get("k", configuration) == "value")
            configuration.user = "agent"
            #expect(await Self.error(of: configuration) == .authenticationFailed(code: "WRONGPASS"))
            configuration.password = "s3cret"
            #expect(try await RedisServer.get("k", configuration) == "value")
            configuration.user = "blind"
            guard case .refused("GET", let reason) = await Self.error(of: configuration) else {
                Issue.record("GET was not refused")
                return
            }
            #expect(reason.hasPrefix("NOPERM "))
        }
    }

    @Test("TLS: verified against the authority given, with a client certificate, and refused without")
    func tls() async throws {
        try await withTemporaryFolder { folder in
            let (key, certificate) = (folder + "/key.pem", folder + "/cert.pem")
            try await runTool(
                "openssl",
                [
                    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key,
                    "-out", certificate,
                ]
            )
            let (tlsPort, port) = (try freePort(), try freePort())
            let arguments = [
                "--tls-port", String(tlsPort), "--tls-cert-file", certificate, "--tls-key-file", key,
                "--tls-ca-cert-file", certificate,
            ]
            try await RedisServer.run(port: port, arguments: arguments) { server in
                try await server.cli("SET", "k", "value")
                for host in ["localhost", "127.0.0.1"] {
                    var configuration = RedisConfiguration(host: host, port: tlsPort)
                    configuration.tls = .init(authorities: certificate, certificate: certificate, key: key)
                    #expect(try await RedisServer.get("k", configuration) == "value")

                    // The server asks for a certificate.
                    configuration.tls = .init(authorities: certificate)
                    #expect(await Self.error(of: configuration)?.isTransient == true)

                    // The system's authorities don't know this one.
                    configuration.tls = .init(certificate: certificate, key: key)
                    let error = await Self.error(of: configuration)
                    guard case .tlsFailed = error else {
                        Issue.record("an unknown authority: \(String(describing: error))")
                        return
                    }
                }
                var wrongFile = RedisConfiguration(host: "localhost", port: tlsPort)
                wrongFile.tls = .init(authorities: folder + "/none.pem")
                guard case .tlsConfiguration = await Self.error(of: wrongFile) else {
                    Issue.record("a missing file was accepted")
                    return
                }
                var inTheClear = RedisConfiguration(host: "localhost", port: tlsPort)
                inTheClear.timeout = .seconds(3)
                #expect(await Self.error(of: inTheClear)?.isTransient == true)
                var mute = RedisConfiguration(host: "localhost", port: port)
                mute.tls = .init(authorities: certificate)
                mute.timeout = .seconds(3)
                #expect(await Self.error(of: mute)?.isTransient == true)
            }
        }
    }

    @Test("a refused connection, an unknown host")
    func unreachable() async throws {
        let error = await Self.error(of: RedisConfiguration(host: "127.0.0.1", port: try freePort()))
        guard case .unreachable(let reason) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(reason.contains("refused"))
        guard case .unreachable = await Self.error(of: RedisConfiguration(host: "no-such-host.invalid", port: 1)) else {
            Issue.record("an unknown host was reached")
            return
        }
    }

    @Test("a server that never answers is given up at the deadline, and at once on cancellation")
    func mute() async throws {
        let (descriptor, port) = try listener()
        defer { close(descriptor) }
        var configuration = RedisConfiguration(host: "127.0.0.1", port: port)
        configuration.timeout = .milliseconds(200)
        #expect(await Self.error(of: configuration) == .timedOut("GET", after: .milliseconds(200)))
        configuration.password = "p"
        #expect(await Self.error(of: configuration) == .timedOut("AUTH", after: .milliseconds(200)))

        var patient = configuration
        patient.timeout = .seconds(300)
        let search = Task { [patient] in try await RedisServer.get("k", patient) }
        search.cancel()
        await #expect(throws: CancellationError.self) { try await search.value }
    }

    @Test(
        "servers that are no Redis, or talk out of turn, or hang up",
        arguments: [
            ("HTTP/1.1 400 Bad Request\r\n\r\n", RedisError.protocolViolation(reason: "an answer that is not RESP")),
            ("*0\r\n", .protocolViolation(reason: "an array")),
            ("+OK\r\n", .protocolViolation(reason: "GET answered with no value")),
            ("", .closed), ("$10\r\nabc", .closed), ("-LOADING data\r\n", .busy(reason: "LOADING")),
            ("-ERR max number of clients reached\r\n", .busy(reason: "its number of clients is reached")),
        ]
    )
    func hostile(answer: String, expected: RedisError) async throws {
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AnswerOnce(answer: answer))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(server.localAddress?.port)
        #expect(await Self.error(of: RedisConfiguration(host: "127.0.0.1", port: port)) == expected)
        try await server.close().get()
    }

    @Test("a definition that is put later is found")
    func store() async throws {
        try await RedisServer.run { server in
            let sink = RecordingSink()
            let store = TaskDefinitionStore(
                configuration: server.configuration,
                deadline: .seconds(60),
                on: MultiThreadedEventLoopGroup.singleton.next(),
                logger: sink.logger()
            )
            async let definition = store.fetch(runID: "run", podIndex: "1")
            #expect(try await eventually { sink.lines.contains { $0.contains("not there yet") } })
            try await server.cli("SET", "run1", "{\"code\": \"pass\"}")
            #expect(String(buffer: try await definition.body) == "{\"code\": \"pass\"}")
        }
    }
}

/// Answers whatever comes first with the same bytes, then closes.
private final class AnswerOnce: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let answer: String

    init(answer: String) { self.answer = answer }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(string: self.answer)), promise: nil)
        context.close(promise: nil)
    }
}
