import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL

/// One end of a TCP connection, read and written in turn by a test.
final class TestStream {
    private var inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    private var buffer = ByteBuffer()
    let channel: any Channel

    struct Ended: Error, CustomStringConvertible {
        var description: String
    }

    init(
        _ channel: any Channel,
        _ inbound: NIOAsyncChannelInboundStream<ByteBuffer>,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) {
        self.channel = channel
        self.inbound = inbound.makeAsyncIterator()
        self.outbound = outbound
    }

    func write(_ text: String) async throws { try await self.write(ByteBuffer(string: text)) }

    /// Lasts until the kernel has taken them.
    func write(_ bytes: ByteBuffer) async throws { try await self.channel.writeAndFlush(bytes) }

    /// Sends no more.
    func end() { self.outbound.finish() }

    /// Breaks the connection off.
    func reset() async throws {
        if let channel = self.channel as? any SocketOptionProvider {
            try await channel.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
        }
        try? await self.channel.close()
    }

    /// - Returns: whether more has come; not, where the peer has ended.
    private func more() async throws -> Bool {
        guard let bytes = try await self.inbound.next(isolation: #isolation) else { return false }
        self.buffer.writeImmutableBuffer(bytes)
        return true
    }

    func read(count: Int) async throws -> ByteBuffer {
        while self.buffer.readableBytes < count {
            guard try await self.more() else {
                throw Ended(description: "ended after '\(String(buffer: self.buffer))'")
            }
        }
        return self.buffer.readSlice(length: count) ?? ByteBuffer()
    }

    /// All up to the text, and the text.
    func read(through end: String) async throws -> String {
        let end = Array(end.utf8)
        while true {
            if let range = self.buffer.readableBytesView.firstRange(of: end) {
                return String(buffer: try await self.read(count: range.upperBound - self.buffer.readerIndex))
            }
            guard try await self.more() else {
                throw Ended(description: "ended after '\(String(buffer: self.buffer))'")
            }
        }
    }

    func readHead() async throws -> String { try await self.read(through: "\r\n\r\n") }

    /// What comes until the peer ends in order.
    func readToEnd() async throws -> String {
        while try await self.more() {}
        defer { self.buffer.clear() }
        return String(buffer: self.buffer)
    }

    /// Counts the bytes until the peer ends in order, and keeps none.
    func countToEnd() async throws -> Int {
        var count = self.buffer.readableBytes
        self.buffer.clear()
        while let bytes = try await self.inbound.next(isolation: #isolation) { count += bytes.readableBytes }
        return count
    }

    // MARK: Connecting

    static func connect<Result: Sendable>(
        to port: Int,
        _ body: @Sendable (TestStream) async throws -> Result
    ) async throws -> Result {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture { try Self.wrap(channel) }
            }
        return try await channel.executeThenClose { inbound, outbound in
            try await body(TestStream(channel.channel, inbound, outbound))
        }
    }

    /// A server for the time of `body`, which is given its port. An error of a connection ends it with that error.
    static func serve<Result: Sendable>(
        tls: NIOSSLContext? = nil,
        _ script: @escaping @Sendable (TestStream) async throws -> Void,
        _ body: @escaping @Sendable (Int) async throws -> Result
    ) async throws -> Result {
        // Each connection has its task from the beginning: one that comes as the test ends is ended like all others.
        let tasks = Collected<Task<Void, Never>>()
        let (failures, continuation) = AsyncStream.makeStream(of: (any Error).self)
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls))
                    }
                    let connection = try Self.wrap(channel)
                    let task = Task {
                        do {
                            try await connection.executeThenClose { inbound, outbound in
                                let stream = TestStream(channel, inbound, outbound)
                                try await script(stream)
                                // Closed at once, it might lose what was sent last.
                                stream.end()
                                _ = try? await stream.countToEnd()
                            }
                        } catch {
                            continuation.yield(error)
                        }
                    }
                    tasks.add(task)
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let port = server.localAddress?.port ?? 0
        let result: Swift.Result<Result, any Error>
        do {
            result = .success(
                try await withThrowingTaskGroup(of: Result?.self) { group in
                    group.addTask {
                        for await failure in failures { throw failure }
                        return nil
                    }
                    group.addTask { try await body(port) }
                    defer { group.cancelAll() }
                    while let result = try await group.next() {
                        if let result { return result }
                    }
                    throw CancellationError()
                }
            )
        } catch {
            result = .failure(error)
        }
        try await server.close()
        for task in tasks.values {
            task.cancel()
            await task.value
        }
        return try result.get()
    }

    private static func wrap(_ channel: any Channel) throws -> NIOAsyncChannel<ByteBuffer, ByteBuffer> {
        try NIOAsyncChannel(
            wrappingChannelSynchronously: channel,
            configuration: .init(isOutboundHalfClosureEnabled: true)
        )
    }
}

/// What several tasks of a test have come across.
final class Collected<Value: Sendable>: Sendable {
    private let kept = NIOLockedValueBox<[Value]>([])

    var values: [Value] { self.kept.withLockedValue { $0 } }

    func add(_ value: Value) { self.kept.withLockedValue { $0.append(value) } }
}
