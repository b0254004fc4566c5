import JSON
public import Logging
public import NIOCore
import NIOPosix

/// Serves the modules to the agent's Python processes.
public struct ModuleServer: Sendable {
    private let modules: [String: any AgentModule]
    private let eventLoop: any EventLoop
    private let logger: Logger

    /// - Parameter modules: each with a name of its own.
    public init(modules: [any AgentModule], eventLoop: any EventLoop, logger: Logger) {
        self.modules = Dictionary(modules.map { ($0.name, $0) }, uniquingKeysWith: { _, last in last })
        self.eventLoop = eventLoop
        self.logger = logger
    }

    /// Serves connections until it is cancelled, or until no process is left that could ask for one; calls that run then are cancelled.
    public func run(connector: ModuleConnector) async throws {
        enum Ended { case module, connector }
        try await withThrowingTaskGroup(of: Ended.self) { group in
            for module in self.modules.values {
                group.addTask {
                    try await module.run()
                    return .module
                }
            }
            group.addTask {
                await self.serve(connector)
                return .connector
            }
            defer { group.cancelAll() }
            // A module that has nothing to do returns at once.
            while try await group.next() == .module {}
        }
    }

    private func serve(_ connector: ModuleConnector) async {
        await withDiscardingTaskGroup { group in
            do {
                try await connector.forEachConnection { connection in
                    group.addTask { await self.serve(connection) }
                }
            } catch is CancellationError {
            } catch {
                self.logger.error("modules can't be reached any more", metadata: [LogKeys.error: "\(error)"])
            }
            group.cancelAll()
        }
    }

    private func serve(_ connection: ModuleConnector.Connection) async {
        do {
            let channel = try await ClientBootstrap(group: self.eventLoop)
                .withConnectedSocket(connection.descriptor) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            ByteToMessageHandler(ModuleFrameDecoder(), maximumBufferSize: nil)
                        )
                        return try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                    }
                }
            try await channel.executeThenClose { inbound, outbound in
                var requests = inbound.makeAsyncIterator()
                var request = try await requests.next()
                while let payload = request {
                    // Until the caller has its answer it sends nothing more, so that all that can come meanwhile is its end.
                    request = try await withThrowingTaskGroup(of: Void.self) { group in
                        defer { group.cancelAll() }
                        group.addTask { try await self.answer(payload, from: connection, outbound) }
                        return try await requests.next(isolation: nil)
                    }
                }
            }
        } catch {
            // The caller has gone, by an error or by its end; nobody is there to be told.
            self.logger.debug("a module connection has ended", metadata: [LogKeys.error: "\(error)"])
        }
    }

    private func answer(
        _ payload: ByteBuffer,
        from connection: ModuleConnector.Connection,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) async throws {
        let reply = ModuleReply { try await outbound.write($0) }
        try await outbound.write(await self.result(of: payload, from: connection, reply: reply))
    }

    private func result(
        of payload: ByteBuffer,
        from connection: ModuleConnector.Connection,
        reply: ModuleReply
    ) async -> ByteBuffer {
        do throws(ModuleError) {
            let request = try ModuleRequest(parsing: payload)
            guard let dot = request.method.firstIndex(of: "."),
                let module = self.modules[String(request.method[..<dot])]
            else { throw .unknownMethod(request.method) }
            let caller = ModuleArguments.Caller(pid: connection.pid, job: request.job)
            let arguments = ModuleArguments(values: request.arguments, caller: caller)
            let method = String(request.method[request.method.index(after: dot)...])
            return ModuleFrame.encode(.value, try await module.call(method, arguments, reply: reply))
        } catch {
            return ModuleFrame.encode(error)
        }
    }
}
