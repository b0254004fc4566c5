import Agent
import ArgumentParser
import Glibc

/// `armada-agent probe [live|ready|startup]`.
struct ProbeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "probe",
        abstract: "Asks the agent on this machine how it is (exit status 0 or 1).",
        discussion: """
            For orchestrators that run a command: what the agent answers at /livez, /readyz or /startupz, which it does where AGENT_HTTP_PORT is set.

            live: its event loop turns, also while it drains. ready: it takes jobs. startup: it has taken jobs once.
            """
    )

    @Argument(help: "What to ask: live, ready or startup.")
    var kind = Probe.Kind.ready

    @Option(help: "Where the agent listens; by default AGENT_HTTP_PORT.")
    var port: Int?

    @Option(help: "Seconds to wait for an answer.")
    var timeout = 1

    func validate() throws {
        if let port, !(1...65535).contains(port) { throw ValidationError("--port is a number from 1 to 65535") }
        guard (1...3600).contains(self.timeout) else { throw ValidationError("--timeout is a number from 1 to 3600") }
    }

    func run() {
        var environment = Environment.current
        if let port { environment["AGENT_HTTP_PORT"] = String(port) }
        do throws(ConfigurationErrors) {
            let result = try Probe(self.kind, environment: environment, timeout: self.timeout).run()
            print(result.text)
            Glibc.exit(result.isPassed ? 0 : 1)
        } catch {
            Glibc.exit(StartupFailure(error, broker: "RABBITMQ_URL").report())
        }
    }
}

extension Probe.Kind: ExpressibleByArgument {}
