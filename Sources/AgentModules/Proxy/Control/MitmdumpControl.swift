import JSON
import NIOCore
import NIOPosix

/// The agent's end of the control channel to one mitmdump.
actor MitmdumpControl {
    private enum Outcome: Sendable {
        case answered(String?)
        case late
        case ended
    }

    nonisolated let eventLoop: any EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { self.eventLoop.executor.asUnownedSerialExecutor() }

    private var outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>?
    private var lastID = 0
    private var answers: [Int: AsyncStream<String?>.Continuation] = [:]

    init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    /// Opens the channel, and runs `body`; the channel is closed, and with it the mitmdump ends, when `body` has returned or the other side has gone.
    /// - Parameters:
    ///   - descriptor: of a connected socket, which is then this channel's.
    ///   - receive: takes what the add-on tells by itself.
    /// - Throws: what `body` throws, or the error of a frame that is not the add-on's.
    func run(
        over descriptor: Int32,
        receive: @escaping @Sendable (ControlEvent) async -> Void,
        _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        let channel = try await ClientBootstrap(group: self.eventLoop)
            .withConnectedSocket(descriptor) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        ByteToMessageHandler(ModuleFrameDecoder(), maximumBufferSize: nil)
                    )
                    return try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        defer { self.close() }
        try await channel.executeThenClose { inbound, outbound in
            self.outbound = outbound
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    do {
                        for try await frame in inbound { await self.take(try ControlEvent(parsing: frame), receive) }
                    } catch is IOError {}
                    await self.close()
                }
                group.addTask { try await body() }
                defer { group.cancelAll() }
                try await group.next()
                try await group.next()
            }
        }
    }

    /// Has the add-on do something, and waits until it is done.
    /// - Throws: `function` with the add-on's words where it can't be done, `timeout`, `ended` where mitmdump has ended.
    func perform(_ command: JSONObject, within limit: Duration) async throws(ModuleError) {
        guard let outbound = self.outbound else { throw Self.hasEnded }
        self.lastID += 1
        let id = self.lastID
        var head = command
        head["id"] = .int(Int64(id))
        let (stream, continuation) = AsyncStream<String?>.makeStream()
        self.answers[id] = continuation
        defer { self.answers[id] = nil }
        do {
            try await outbound.write(ControlFrame.encode(head))
        } catch {
            throw Self.hasEnded
        }
        let outcome = await withTaskGroup(of: Outcome.self) { group in
            group.addTask {
                for await error in stream { return .answered(error) }
                return .ended
            }
            group.addTask {
                do { try await Task.sleep(for: limit) } catch { return .ended }
                return .late
            }
            defer { group.cancelAll() }
            return await group.next() ?? .ended
        }
        switch outcome {
        case .answered(nil): return
        case .answered(let error?): throw ModuleError("function", error)
        case .ended: throw Self.hasEnded
        case .late:
            throw ModuleError(
                "timeout",
                "mitmproxy has not answered within \(limit.components.seconds) s: does a function that was added block it?"
            )
        }
    }

    static let hasEnded = ModuleError("ended", "mitmdump has ended")

    private func take(_ event: ControlEvent, _ receive: (ControlEvent) async -> Void) async {
        if case .answer(let id, let error) = event {
            self.answers[id]?.yield(error)
        } else {
            await receive(event)
        }
    }

    private func close() {
        self.outbound = nil
        for continuation in self.answers.values { continuation.finish() }
        self.answers = [:]
    }
}
