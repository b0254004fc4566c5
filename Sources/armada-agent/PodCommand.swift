import Agent
import ArgumentParser
import CeleryWorker
import Glibc
import Logging
import NIOCore
import NIOPosix

/// `armada-agent`, and `armada-agent pod`.
struct PodCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pod",
        abstract: "Works on one Armada run (the default)."
    )

    func run() async throws {
        let environment = Environment.current
        let signals = ShutdownSignals(environment: environment)
        signals.exit(await Self.run(environment: environment, signals: signals))
    }

    private static func run(environment: [String: String], signals: ShutdownSignals) async -> Int32 {
        do {
            let configuration = try AgentConfiguration(environment: environment)
            LoggingSystem.bootstrap { label in
                AgentLogHandler(label: label, format: configuration.logFormat, level: configuration.logLevel)
            }
            // One loop carries a job from the broker's socket to the worker's and back.
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            let pod = try Pod(
                configuration: configuration,
                environment: environment,
                on: group.next(),
                logger: Logger(label: "armada-agent")
            )
            return try await signals.forwarding { requests in
                switch try await pod.run(requests: requests) {
                case .warm: ExitStatus.success.rawValue
                case .cold: ExitStatus.cold.rawValue
                }
            }
        } catch {
            return StartupFailure(error, broker: "RABBITMQ_URL").report()
        }
    }
}

enum Environment {
    /// The environment of this process.
    static var current: [String: String] {
        var variables: [String: String] = [:]
        var entry = environ
        while let pointer = entry.pointee {
            let text = String(cString: pointer)
            if let equals = text.firstIndex(of: "=") {
                variables[String(text[..<equals])] = String(text[text.index(after: equals)...])
            }
            entry = entry.successor()
        }
        return variables
    }
}
