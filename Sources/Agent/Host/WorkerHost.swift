import AgentModules
import CeleryWorker
import Logging
import NIOCore
import PythonPool

/// A worker with all that serves others beside it: what signals ask for, probes, and the built-in modules of its Python processes.
struct WorkerHost: Sendable {
    /// What the modules of a worker need to know.
    struct Modules: Sendable {
        var configuration: ModulesConfiguration
        /// Names the outbox among those of other agents.
        var outboxName: String
    }

    let worker: Worker
    private let modules: (server: ModuleServer, connector: ModuleConnector)?
    private let probes: ProbeServer?

    /// - Parameters:
    ///   - modules: `nil` for none: then the SDK helps itself, as at a desk.
    ///   - probes: where they are answered; `nil` for nowhere.
    /// - Throws: ``ModuleError`` when the system has no more descriptors.
    init(
        _ configuration: WorkerConfiguration,
        pool: PoolConfiguration,
        modules: Modules?,
        probes: ProbeServer.Address?,
        on eventLoop: any EventLoop,
        logger: Logger
    ) throws(ModuleError) {
        var configuration = configuration
        var pool = pool
        let outbox = modules.flatMap { Self.outbox($0, on: eventLoop, logger: logger) }
        if let outbox {
            configuration.beforeLateAcknowledgement = { await outbox.settle(task: $0, within: Self.outboxLimit) }
        }
        let connector = modules == nil ? nil : try ModuleConnector()
        if let connector { pool.inherited.append(connector.connecting) }
        let worker = Worker(configuration: configuration, pool: pool, eventLoop: eventLoop, logger: logger)
        self.worker = worker
        self.probes = probes.map { ProbeServer($0, of: worker, outbox: outbox, logger: logger) }
        if let modules, let connector {
            let server = BuiltInModules.server(
                modules.configuration,
                for: worker,
                outbox: outbox,
                on: eventLoop,
                logger: logger
            )
            self.modules = (server, connector)
        } else {
            self.modules = nil
        }
    }

    /// Serves until the worker has ended.
    /// - Parameters:
    ///   - requests: what signals ask for, as they come.
    ///   - work: runs the worker.
    /// - Throws: what `work` throws, and what keeps the rest from being served.
    func run(
        requests: AsyncStream<Worker.OperatorRequest>,
        _ work: @escaping @Sendable () async throws -> Worker.Ending
    ) async throws -> Worker.Ending {
        try await withThrowingTaskGroup(of: Worker.Ending?.self) { group in
            group.addTask {
                for await request in requests { await self.worker.perform(request) }
                return nil
            }
            if let probes {
                group.addTask {
                    try await probes.run()
                    return nil
                }
            }
            if let modules {
                group.addTask {
                    try await modules.server.run(connector: modules.connector)
                    return nil
                }
            }
            group.addTask { try await work() }
            defer { group.cancelAll() }
            while let ending = try await group.next() {
                if let ending { return ending }
            }
            return .warm
        }
    }

    /// How long a job's acknowledgement may wait for its events.
    private static let outboxLimit = Duration.seconds(30)

    private static func outbox(_ modules: Modules, on eventLoop: any EventLoop, logger: Logger) -> Outbox? {
        modules.configuration.outbox.map { folder in
            // A name may hold what a folder's must not.
            let name = modules.outboxName.split(separator: "/", omittingEmptySubsequences: false)
                .joined(separator: "%2F")
            return Outbox(directory: "\(folder)/\(name)", eventLoop: eventLoop, logger: logger)
        }
    }
}
