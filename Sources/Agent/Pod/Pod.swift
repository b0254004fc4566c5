import AMQP
import Celery
public import CeleryWorker
import JSON
public import Logging
public import NIOCore
import PythonPool

/// The agent's main job: a pod of an Armada run. It installs what the project requires, fetches the project, and works on the run's queue
/// until the orchestrator ends the run.
public struct Pod: Sendable {
    private let configuration: AgentConfiguration
    private let broker: BrokerConfiguration
    private let environment: [String: String]
    private let eventLoop: any EventLoop
    private let logger: Logger

    /// - Parameter environment: of this process; the Python processes inherit it.
    /// - Throws: ``StartupError`` for a `RABBITMQ_URL` that can't be understood.
    public init(
        configuration: AgentConfiguration,
        environment: [String: String],
        on eventLoop: any EventLoop,
        logger: Logger
    ) throws {
        self.configuration = configuration
        do throws(ConnectionURLError) {
            self.broker = BrokerConfiguration(
                urls: try ConnectionURL.list(configuration.rabbitMQURL),
                connectionName: "armada-agent \(configuration.runID) \(configuration.podIndex)",
                // As often as Celery (`broker_connection_max_retries`): some fifty minutes.
                recovery: RecoveryPolicy(maximumAttempts: 100)
            )
        } catch {
            throw ConfigurationErrors(problems: [
                ConfigurationError(variable: "RABBITMQ_URL", found: error.found, expected: error.expected)
            ])
        }
        self.environment = environment
        self.eventLoop = eventLoop
        self.logger = logger
    }

    /// Works until it is asked to stop.
    /// - Parameter requests: what signals ask for, as they come.
    /// - Throws: ``StartupError``, or what made going on impossible.
    public func run(
        requests: AsyncStream<Worker.OperatorRequest>
    ) async throws -> Worker.Ending {
        let locator = PythonLocator(environment: self.environment)
        let python = try locator.python(configured: self.configuration.python)
        let runtime = try locator.runtime()
        let host = try WorkerHost(
            self.workerConfiguration,
            pool: PoolConfiguration(python: python, runtime: runtime, environment: self.environment),
            modules: WorkerHost.Modules(
                configuration: self.configuration.modules,
                outboxName: "\(self.configuration.runID)-\(self.configuration.podIndex)"
            ),
            probes: self.configuration.probes,
            on: self.eventLoop,
            logger: self.logger
        )
        let worker = host.worker
        return try await host.run(requests: requests) {
            // The requirements may bring another Celery, so Python starts after them.
            if let requirements = self.configuration.requirements {
                guard try await self.install(requirements, python: python, unlessStopped: worker) else {
                    return .warm
                }
            }
            return try await worker.run { pool in try await self.load(in: pool) }
        }
    }

    private var workerConfiguration: WorkerConfiguration {
        WorkerConfiguration(
            nodeName: NodeName(name: "worker\(self.configuration.podIndex)", host: CeleryApp.hostName),
            broker: self.broker,
            pool: .prefork,
            concurrency: self.configuration.concurrency,
            prefetchMultiplier: self.configuration.prefetchMultiplier,
            fleet: self.configuration.runID,
            drainTimeout: self.configuration.drainLimit?.inSeconds,
            maximumDeliveries: self.configuration.maximumDeliveries
        )
    }

    /// - Returns: whether they are installed; `false` if the agent was asked to stop meanwhile.
    private func install(_ requirements: String, python: String, unlessStopped worker: Worker) async throws -> Bool {
        let installer = RequirementsInstaller(
            python: python,
            environment: self.environment,
            on: self.eventLoop,
            logger: self.logger
        )
        return try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                _ = try await installer.install(base64: requirements)
                return true
            }
            group.addTask {
                try await worker.shutdownRequested()
                return false
            }
            defer { group.cancelAll() }
            return try await group.next() ?? false
        }
    }

    /// Fetches the task definition and has Python execute it.
    private func load(in pool: PythonPool) async throws -> Manifest {
        let store = TaskDefinitionStore(
            configuration: self.configuration.redis,
            deadline: self.configuration.definitionDeadline,
            on: self.eventLoop,
            logger: self.logger
        )
        let definition = try await store.fetch(runID: self.configuration.runID, podIndex: self.configuration.podIndex)
        let request: JSON = [
            "mode": "armada",
            "message": .string(String(buffer: definition.body)),
            "run_id": .string(definition.runID),
            "pod_index": .string(definition.podIndex),
            "broker_url": .string(self.configuration.rabbitMQURL),
            "hostname": .string(self.workerConfiguration.nodeName.description),
            "queues": [.string(definition.runID)],
            "options": [
                "concurrency": .int(Int64(self.configuration.concurrency)),
                "prefetch_multiplier": .int(Int64(self.configuration.prefetchMultiplier)),
            ],
        ]
        return try Manifest(parsing: try await pool.load(request.encoded))
    }
}
