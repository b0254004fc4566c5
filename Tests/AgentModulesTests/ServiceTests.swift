import CPool
import Celery
import Glibc
import JSON
import Logging
import NIOCore
import NIOPosix
import Testing

@testable import AgentModules

/// Answers `echo.*` calls as their names say.
private struct Echo: AgentModule {
    let name = "echo"
    /// Tells of calls that were given up.
    let cancelled: AsyncStream<Void>.Continuation

    func call(_ method: String, _ arguments: ModuleArguments, reply: ModuleReply) async throws(ModuleError)
        -> PythonValue
    {
        switch method {
        case "value": return .json(arguments["value"] ?? .null)
        case "caller": return .json([.int(Int64(arguments.caller.pid)), JSON(arguments.caller.job)])
        case "fail": throw ModuleError("test", "as told", details: ["number": 7])
        case "parts":
            for part in 0..<3 { try await reply.part(.int(part)) }
            return .none
        case "wait":
            // Tells that the call has begun.
            try? await reply.part(.none)
            do {
                try await Task.sleep(for: .seconds(600))
            } catch {
                self.cancelled.yield()
            }
            return .none
        default: throw .unknownMethod("echo.\(method)")
        }
    }
}

/// A caller as `armada_agent/sdk/_connection.py` is one: one call at a time. It waits on threads of its own.
private struct Caller: Sendable {
    let descriptor: Int32

    init(_ connector: ModuleConnector) throws {
        var ends: [Int32] = [-1, -1]
        #expect(cpool_socketpair(Int32(SOCK_STREAM.rawValue), &ends) >= 0)
        #expect(cpool_send_descriptors(connector.connecting, "x", 1, [ends[1]], 1) >= 0)
        Glibc.close(ends[1])
        self.descriptor = ends[0]
    }

    func close() { Glibc.close(self.descriptor) }

    func send(_ text: String) {
        var frame = ByteBuffer()
        frame.writeInteger(UInt32(text.utf8.count), endianness: .little)
        frame.writeString(text)
        let count = frame.withUnsafeReadableBytes { write(self.descriptor, $0.baseAddress, $0.count) }
        #expect(count == frame.readableBytes)
    }

    /// The kind and the payload of the next frame; `nil` at the end of the stream.
    func receive() async throws -> (kind: UInt8, payload: ByteBuffer)? {
        try await NIOThreadPool.singleton.runIfActive {
            guard var head = self.read(4), let length = head.readInteger(endianness: .little, as: UInt32.self),
                var payload = self.read(Int(length)), let kind = payload.readInteger(as: UInt8.self)
            else { return nil }
            return (kind, payload)
        }
    }

    private func read(_ count: Int) -> ByteBuffer? {
        var bytes = [UInt8](repeating: 0, count: count)
        var position = 0
        while position < count {
            let received = bytes.withUnsafeMutableBytes { bytes in
                Glibc.read(self.descriptor, bytes.baseAddress?.advanced(by: position), count - position)
            }
            guard received > 0 else { return nil }
            position += received
        }
        return ByteBuffer(bytes: bytes)
    }
}

@Suite("The modules' service", .timeLimit(.minutes(1)))
struct ServiceTests {
    private func serving(_ body: @escaping @Sendable (ModuleConnector, AsyncStream<Void>) async throws -> Void)
        async throws
    {
        let connector = try ModuleConnector()
        let (cancelled, continuation) = AsyncStream<Void>.makeStream()
        let server = ModuleServer(
            modules: [Echo(cancelled: continuation)],
            eventLoop: MultiThreadedEventLoopGroup.singleton.next(),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run(connector: connector) }
            try await body(connector, cancelled)
            group.cancelAll()
        }
        Glibc.close(connector.connecting)
    }

    @Test("a call is answered with a value of Python's, and the connection serves the next")
    func value() async throws {
        try await self.serving { connector, _ in
            let caller = try Caller(connector)
            for text in ["a", "b"] {
                caller.send("{\"method\": \"echo.value\", \"arguments\": {\"value\": \"\(text)\"}}")
                let answer = try await caller.receive()
                #expect(answer?.kind == 0)
                #expect(answer?.payload == PythonValue.string(text).encoded)
            }
        }
    }

    @Test("the caller's process is told by the kernel, its job by itself")
    func caller() async throws {
        try await self.serving { connector, _ in
            let caller = try Caller(connector)
            caller.send(#"{"method": "echo.caller", "arguments": {}, "job": "id"}"#)
            #expect(try await caller.receive()?.payload == PythonValue.json([.int(Int64(getpid())), "id"]).encoded)
        }
    }

    @Test("parts come in order, before the answer")
    func parts() async throws {
        try await self.serving { connector, _ in
            let caller = try Caller(connector)
            caller.send(#"{"method": "echo.parts"}"#)
            for part in 0..<3 {
                let frame = try await caller.receive()
                #expect(frame?.kind == 2)
                #expect(frame?.payload == PythonValue.int(part).encoded)
            }
            #expect(try await caller.receive()?.kind == 0)
        }
    }

    @Test(
        "what can't be answered is an error that says why, and the connection lives on",
        arguments: [
            (#"{"method": "echo.fail"}"#, "test"), (#"{"method": "echo.nothing"}"#, "unknown_method"),
            (#"{"method": "nobody.value"}"#, "unknown_method"), (#"{"method": "value"}"#, "unknown_method"),
            (#"{"arguments": {}}"#, "protocol"), ("[]", "protocol"), ("{nope", "protocol"), ("", "protocol"),
        ]
    )
    func errors(request: String, kind: String) async throws {
        try await self.serving { connector, _ in
            let caller = try Caller(connector)
            caller.send(request)
            var answer = try #require(try await caller.receive())
            #expect(answer.kind == 1)
            let text = answer.payload.readString(length: answer.payload.readableBytes) ?? ""
            #expect(text.contains(kind))
            caller.send(#"{"method": "echo.value"}"#)
            #expect(try await caller.receive()?.kind == 0)
        }
    }

    @Test("a request that is too long ends the connection, and no other")
    func tooLong() async throws {
        try await self.serving { connector, _ in
            let caller = try Caller(connector)
            let other = try Caller(connector)
            var head = ByteBuffer()
            head.writeInteger(UInt32(ModuleFrame.limit + 1), endianness: .little)
            _ = head.withUnsafeReadableBytes { write(caller.descriptor, $0.baseAddress, $0.count) }
            #expect(try await caller.receive() == nil)
            other.send(#"{"method": "echo.value"}"#)
            #expect(try await other.receive()?.kind == 0)
        }
    }

    @Test("a call whose caller goes is cancelled")
    func gone() async throws {
        try await self.serving { connector, cancelled in
            let caller = try Caller(connector)
            caller.send(#"{"method": "echo.wait"}"#)
            caller.close()
            var iterator = cancelled.makeAsyncIterator()
            #expect(await iterator.next() != nil)
        }
    }

    @Test("calls that run are cancelled when the service ends")
    func ends() async throws {
        let connector = try ModuleConnector()
        let (cancelled, continuation) = AsyncStream<Void>.makeStream()
        let server = ModuleServer(
            modules: [Echo(cancelled: continuation)],
            eventLoop: MultiThreadedEventLoopGroup.singleton.next(),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        )
        let caller = try Caller(connector)
        caller.send(#"{"method": "echo.wait"}"#)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run(connector: connector) }
            #expect(try await caller.receive()?.kind == 2)
            // Nobody is left who could ask for a connection.
            Glibc.close(connector.connecting)
            try await group.next()
        }
        var iterator = cancelled.makeAsyncIterator()
        #expect(await iterator.next() != nil)
    }
}
