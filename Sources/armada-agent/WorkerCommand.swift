import Agent
import ArgumentParser
import CeleryWorker
import Glibc
import Logging
import NIOCore
import NIOPosix

/// `armada-agent worker`.
struct WorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker",
        abstract: "Works for any Celery project, with the options of celery worker.",
        discussion: """
            armada-agent worker -A MODULE[:APP] in place of celery -A MODULE[:APP] worker. The project's configuration counts where no option does; the \
            environment variables that Celery knows for its options (CELERY_WORKER_CONCURRENCY and the like) count where neither is given on the command \
            line. Tasks run in prefork processes, on RabbitMQ. docs/options.md tells of each option and setting what becomes of it.

            AGENT_PYTHON names the interpreter, AGENT_LOG_FORMAT=json has the agent's own lines in JSON, AGENT_DRAIN_SECONDS bounds a warm shutdown, \
            AGENT_MAX_DELIVERIES sets aside what keeps costing its process, AGENT_HTTP_PORT has probes and metrics answered.
            """,
        version: AgentVersion.text
    )

    @OptionGroup
    var options: CeleryAppOptions

    func run() async throws {
        let environment = Environment.current
        let signals = ShutdownSignals(environment: environment)
        signals.exit(await Self.run(self.options, environment: environment, signals: signals))
    }

    private static func run(
        _ options: CeleryAppOptions,
        environment: [String: String],
        signals: ShutdownSignals
    ) async -> Int32 {
        do {
            let configuration = try CeleryAppConfiguration(options, environment: environment)
            try configuration.enterProcess()
            LoggingSystem.bootstrap(try configuration.logHandler())
            // One loop carries a job from the broker's socket to the worker's and back.
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            let app = CeleryApp(
                configuration: configuration,
                commandLine: Array(CommandLine.arguments.dropFirst()),
                environment: environment,
                on: group.next(),
                logger: Logger(label: "armada-agent")
            )
            return try await signals.forwarding { requests in
                switch try await app.run(requests: requests) {
                case .warm: ExitStatus.success.rawValue
                case .cold: ExitStatus.cold.rawValue
                }
            }
        } catch {
            return StartupFailure(error, broker: "broker_url").report()
        }
    }
}
