import Glibc
import Logging
import NIOCore
import NIOPosix
import Testing

@testable import AgentModules

@Suite("Relay: limits, failures, ends", .timeLimit(.minutes(1)))
struct RelayLifeTests {
    static let impatient = UpstreamRelay.Limits(
        dial: .milliseconds(200),
        linger: .milliseconds(50),
        halfClosed: .milliseconds(50)
    )

    @Test("an upstream that is not there, or never answers", arguments: ["http", "https", "socks5"])
    func silence(scheme: String) async throws {
        try await TestStream.serve { proxy in
            _ = try? await proxy.readToEnd()
        } _: { port in
            for request in ["CONNECT h:1 HTTP/1.1\r\n\r\n", "GET http://h/ HTTP/1.1\r\n\r\n"] {
                // An HTTP proxy that has the request may take its time.
                if scheme == "http", request.hasPrefix("GET") { continue }
                let answer = try await RelayTests.answer(
                    to: request,
                    try RelayTests.proxy(port, scheme: scheme),
                    limits: Self.impatient
                )
                #expect(
                    answer.hasPrefix(
                        "HTTP/1.1 504 the upstream proxy 127.0.0.1:\(port) did not answer within 200 ms\r\n"
                    )
                )
                #expect(!answer.contains("bob") && !answer.contains("s3cret"))
            }
        }
        let reserved = try ReservedPort()
        defer { withExtendedLifetime(reserved) {} }
        let closed = reserved.port
        let answer = try await RelayTests.answer(
            to: "CONNECT h:1 HTTP/1.1\r\n\r\n",
            try RelayTests.proxy(closed, scheme: scheme)
        )
        #expect(answer.hasPrefix("HTTP/1.1 502 the upstream proxy 127.0.0.1:\(closed) refused the connection\r\n"))
        let nowhere = UpstreamRoute.proxy(try UpstreamProxy("\(scheme)://bob:s3cret@no-such-host.invalid:1"))
        let unresolved = try await RelayTests.answer(to: "GET http://h/ HTTP/1.1\r\n\r\n", nowhere)
        #expect(
            unresolved.contains(
                "\r\n\r\narmada-agent: the upstream proxy no-such-host.invalid:1 can't be found: its name does not resolve\n"
            )
        )
    }

    @Test("a target that is not there, without a proxy")
    func directFailures() async throws {
        let reserved = try ReservedPort()
        defer { withExtendedLifetime(reserved) {} }
        let port = reserved.port
        for request in ["CONNECT 127.0.0.1:\(port) HTTP/1.1\r\n\r\n", "GET http://127.0.0.1:\(port)/ HTTP/1.1\r\n\r\n"]
        {
            let answer = try await RelayTests.answer(to: request, .direct)
            #expect(answer.hasPrefix("HTTP/1.1 502 127.0.0.1:\(port) refused the connection\r\n"))
        }
    }

    @Test("a request with a large body that goes nowhere is answered all the same")
    func largeRequestToNowhere() async throws {
        let reserved = try ReservedPort()
        defer { withExtendedLifetime(reserved) {} }
        let port = reserved.port
        try await relaying(.direct) { relay in
            try await TestStream.connect(to: relay) { client in
                let blocks = 16
                try await client.write(
                    "POST http://127.0.0.1:\(port)/ HTTP/1.1\r\nContent-Length: \(blocks << 20)\r\n\r\n"
                )
                for _ in 0..<blocks { try await client.write(RelayTests.block) }
                #expect(try await client.readToEnd().hasPrefix("HTTP/1.1 502 "))
            }
        }
    }

    @Test("a client that does not end after its last answer is ended")
    func linger() async throws {
        let reserved = try ReservedPort()
        defer { withExtendedLifetime(reserved) {} }
        let port = reserved.port
        try await relaying(.direct, limits: Self.impatient) { relay in
            try await TestStream.connect(to: relay) { client in
                try await client.write("CONNECT 127.0.0.1:\(port) HTTP/1.1\r\n\r\n")
                _ = try await client.readToEnd()
                // What is sent to a closed connection comes back as a reset.
                await #expect(throws: (any Error).self) {
                    while true {
                        try await client.write("x")
                        try await Task.sleep(for: .milliseconds(1))
                    }
                }
            }
        }
    }

    @Test("a tunnel of which one side has ended is given up when the other says nothing", arguments: [true, false])
    func halfClosed(clientEnds: Bool) async throws {
        try await TestStream.serve { server in
            _ = try await server.read(count: 1)
            if !clientEnds { server.end() }
            _ = try? await server.readToEnd()
            // Until the relay gives up, nothing more.
            try? await server.channel.closeFuture.get()
        } _: { port in
            try await relaying(.direct, limits: .init(halfClosed: .milliseconds(50))) { relay in
                try await TestStream.connect(to: relay) { client in
                    try await client.write("CONNECT 127.0.0.1:\(port) HTTP/1.1\r\n\r\n!")
                    try #require(try await client.readHead().hasPrefix("HTTP/1.1 200 "))
                    if clientEnds { client.end() }
                    _ = try? await client.readToEnd()
                    if !clientEnds { try? await client.channel.closeFuture.get() }
                }
            }
        }
    }

    @Test("hundreds of connections that end in every way leave none behind")
    func churn() async throws {
        let relay = UpstreamRelay(eventLoop: MultiThreadedEventLoopGroup.singleton.next(), logger: .silent)
        try await TestStream.serve { server in
            guard let first = try? await server.read(count: 1) else { return }
            switch first {
            case ByteBuffer(string: "r"): try await server.reset()
            case ByteBuffer(string: "e"): break
            default: _ = try? await server.readToEnd()
            }
        } _: { port in
            let listener = try await relay.open(.direct)
            let reserved = try ReservedPort()
            defer { withExtendedLifetime(reserved) {} }
            let closed = reserved.port
            try await withThrowingDiscardingTaskGroup { group in
                for number in 0..<400 {
                    group.addTask {
                        try await TestStream.connect(to: listener.port) { client in
                            let target = number % 5 == 4 ? closed : port
                            try await client.write("CONNECT 127.0.0.1:\(target) HTTP/1.1\r\n\r\n")
                            _ = try await client.readHead()
                            guard number % 5 < 4 else { return }
                            try await client.write(["r", "e", "x", "y"][number % 4])
                            switch number % 4 {
                            case 2: client.end()
                            case 3: return
                            default: break
                            }
                            _ = try? await client.readToEnd()
                        }
                    }
                }
            }
            // The relay sees the last ends a little later than the clients.
            while await listener.openConnections > 0 { try await Task.sleep(for: .milliseconds(1)) }
            await listener.close()
        }
    }

    @Test("retired, a listener takes no new connections, and open ones go on; closed, they are broken off")
    func retire() async throws {
        let relay = UpstreamRelay(eventLoop: MultiThreadedEventLoopGroup.singleton.next(), logger: .silent)
        let listener = try await relay.open(.direct)
        try await TestStream.serve { server in
            while let byte = try? await server.read(count: 1) { try await server.write(byte) }
        } _: { port in
            try await TestStream.connect(to: listener.port) { client in
                try await client.write("CONNECT 127.0.0.1:\(port) HTTP/1.1\r\n\r\n")
                _ = try await client.readHead()
                await listener.retire()
                // Another test may have been given the port.
                try? await TestStream.connect(to: listener.port) { try await $0.write("x") }
                for _ in 0..<10 {
                    try await client.write("x")
                    #expect(try await client.read(count: 1) == ByteBuffer(string: "x"))
                }
                #expect(await listener.openConnections == 1)
                await listener.close()
                #expect(await listener.openConnections == 0)
                await #expect(throws: IOError.self) { try await client.readToEnd() }
                await listener.close()
            }
        }
    }

    @Test("an upstream proxy that can't be used is logged, once for many requests, without credentials")
    func logged() async throws {
        let lines = Collected<String>()
        let logger = Logger(label: "relay") { _ in RecordingHandler { lines.add($0) } }
        let relay = UpstreamRelay(eventLoop: MultiThreadedEventLoopGroup.singleton.next(), logger: logger)
        let reserved = try ReservedPort()
        defer { withExtendedLifetime(reserved) {} }
        let port = reserved.port
        let listener = try await relay.open(try RelayTests.proxy(port))
        for _ in 0..<20 {
            try await TestStream.connect(to: listener.port) { client in
                try await client.write("CONNECT h:1 HTTP/1.1\r\n\r\n")
                _ = try await client.readToEnd()
            }
        }
        await listener.close()
        let warnings = lines.values.filter { $0.hasPrefix("warning") }
        #expect(
            warnings == [
                "warning the upstream proxy can't be used error=the upstream proxy 127.0.0.1:\(port) refused the connection"
            ]
        )
    }

    @Test("of failures that are the same, one a minute is logged, and the next one tells how many there were")
    func failureLog() {
        var log = FailureLog()
        let start = ContinuousClock.now
        #expect(log.admit("a", at: start) == 0)
        #expect(log.admit("a", at: start + .seconds(1)) == nil)
        #expect(log.admit("a", at: start + .seconds(59)) == nil)
        #expect(log.admit("b", at: start + .seconds(59)) == 0)
        #expect(log.admit("a", at: start + .seconds(60)) == 2)
        #expect(log.admit("a", at: start + .seconds(61)) == nil)
        #expect(
            (0..<1000).count { log.admit("kind \($0)", at: start + .seconds(62)) != nil } < 64,
            "kinds are bounded, too"
        )
        #expect(log.admit("new", at: start + .seconds(200)) == 0)
    }
}

/// A port of 127.0.0.1 where nobody listens, for as long as this lives.
final class ReservedPort: Sendable {
    let port: Int
    private let descriptor: Int32

    init() throws {
        self.descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = self.descriptor
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(descriptor, address, length) == 0 ? getsockname(descriptor, address, &length) : -1
            }
        }
        guard result == 0 else { throw TestStream.Ended(description: "no port: errno \(errno)") }
        self.port = Int(UInt16(bigEndian: address.sin_port))
    }

    deinit { close(self.descriptor) }
}

extension Logger {
    static var silent: Logger { Logger(label: "test") { _ in SwiftLogNoOpLogHandler() } }
}

/// Hands on each line: level, message, metadata.
private struct RecordingHandler: LogHandler {
    var write: @Sendable (String) -> Void
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    init(_ write: @escaping @Sendable (String) -> Void) { self.write = write }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let metadata = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        self.write(([event.level.rawValue, "\(event.message)"] + metadata).joined(separator: " "))
    }
}
