public import AgentModules
public import CeleryWorker
import Glibc
public import Logging
import NIOCore
import NIOHTTP1
import NIOPosix

/// Answers probes, and shows metrics, over HTTP, for as long as ``run()`` runs; run it beside the worker's own `run`.
///
/// It shares the worker's event loop: that it answers shows that the loop which carries the jobs turns. No state is kept for it; what it tells is looked
/// up when it is asked.
public struct ProbeServer: Sendable {
    /// Where to listen.
    public struct Address: Sendable, Equatable {
        public var host: String
        public var port: Int

        public init(host: String, port: Int) {
            self.host = host
            self.port = port
        }
    }

    /// How many connections there may be at a time; further ones are closed at once, so that they take no descriptors from the worker.
    static let connectionLimit = 64

    private let address: Address
    private let source: ProbeAnswer.Source
    private let eventLoop: any EventLoop
    private let logger: Logger

    /// - Parameter outbox: on the worker's event loop, if there is one.
    public init(_ address: Address, of worker: Worker, outbox: Outbox? = nil, logger: Logger) {
        self.init(
            address,
            from: ProbeAnswer.Source(
                health: { worker.assumeIsolated { $0.health } },
                metrics: { worker.assumeIsolated { $0.metrics } },
                outbox: { outbox?.assumeIsolated { $0.counts } }
            ),
            on: worker.eventLoop,
            logger: logger
        )
    }

    init(_ address: Address, from source: ProbeAnswer.Source, on eventLoop: any EventLoop, logger: Logger) {
        self.address = address
        self.source = source
        self.eventLoop = eventLoop
        self.logger = logger
    }

    /// Listens until it is cancelled.
    /// - Throws: ``StartupError`` when the address can't be listened on.
    public func run() async throws {
        try await self.run { _ in }
    }

    /// - Parameter onListening: is told the address that was bound, which has a port of the system's choice where ``Address/port`` is 0.
    func run(onListening: @Sendable (SocketAddress?) -> Void) async throws {
        let listener = try await self.listen()
        self.logger.info(
            "probes and metrics are answered",
            metadata: [LogKeys.address: "\(self.address.host):\(self.address.port)"]
        )
        onListening(listener.localAddress)
        try await withTaskCancellationHandler {
            try await listener.closeFuture.get()
        } onCancel: {
            listener.close(promise: nil)
        }
    }

    private func listen() async throws -> any Channel {
        let source = self.source
        let connectionCount = NIOLoopBoundBox.makeBoxSendingValue(0, eventLoop: self.eventLoop)
        let bootstrap = ServerBootstrap(group: self.eventLoop)
            .serverChannelOption(.backlog, value: 16)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard connectionCount.value < Self.connectionLimit else {
                        throw ChannelError.inappropriateOperationForState
                    }
                    connectionCount.value += 1
                    channel.closeFuture.whenComplete { _ in connectionCount.value -= 1 }
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: false, withErrorHandling: true)
                    try pipeline.addHandler(ProbeHandler(source: source))
                }
            }
        do {
            return try await bootstrap.bind(host: self.address.host, port: self.address.port).get()
        } catch {
            throw ConfigurationErrors(problems: [self.problem(error)])
        }
    }

    private func problem(_ error: any Error) -> ConfigurationError {
        guard let error = error as? IOError else {
            return ConfigurationError(
                variable: Variables.httpHost.name,
                found: Redaction.quoted(self.address.host),
                expected: "an address of this machine"
            )
        }
        let isAddress = error.errnoCode == EADDRNOTAVAIL
        return ConfigurationError(
            variable: isAddress ? Variables.httpHost.name : Variables.httpPort.name,
            found: isAddress ? Redaction.quoted(self.address.host) : "\(self.address.port)",
            expected: isAddress
                ? "an address of this machine"
                : "a port that this process may listen on: \(String(cString: strerror(error.errnoCode)))"
        )
    }
}
