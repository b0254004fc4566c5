import Agent
import AgentModules
import ArgumentParser
import Glibc
import Logging
import NIOCore
import NIOPosix

/// `armada-agent modules`: what a script at a desk starts for itself.
struct ModulesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "modules",
        abstract: "Serves the built-in modules to a script that runs without an agent.",
        discussion: """
            The Python SDK starts this by itself when it is used outside of an agent. It serves the processes that share the given socket, and ends with the last \
            of them. The modules are configured by the same environment variables as in a pod.
            """
    )

    @Option(help: "The descriptor of the socket over which connections are asked for.")
    var connector: Int32

    func run() async throws {
        LoggingSystem.bootstrap { AgentLogHandler(label: $0, format: .text, level: .warning) }
        let eventLoop = MultiThreadedEventLoopGroup(numberOfThreads: 1).next()
        let logger = Logger(label: "armada-agent")
        do {
            let configuration = try BuiltInModules.configuration(environment: Environment.current)
            let server = BuiltInModules.server(configuration, on: eventLoop, logger: logger)
            try await server.run(connector: try ModuleConnector(accepting: self.connector))
        } catch {
            Glibc.exit(StartupFailure(error, broker: "").report())
        }
        Glibc.exit(ExitStatus.success.rawValue)
    }
}
