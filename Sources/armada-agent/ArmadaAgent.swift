import Agent
import ArgumentParser

@main
enum Main {
    static func main() async {
        await ArmadaAgent.main(CeleryAppOptions.arguments(Array(CommandLine.arguments.dropFirst())))
    }
}

/// The command line: without a subcommand, the pod's main job.
struct ArmadaAgent: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "armada-agent",
        abstract: "A Celery worker on RabbitMQ: for an Armada run, or for any Celery project.",
        discussion: """
            Without a subcommand this is the main job of a pod: it reads its task definition from Redis under RUN_ID + POD_INDEX, executes the \
            project's code in Python, and works on the queue RUN_ID until the orchestrator ends the run. All is configured by environment \
            variables; the README lists them.

            SIGTERM: no further job is started, the running one ends (warm shutdown). SIGQUIT, or a second SIGINT: the running job is ended and goes \
            back to the broker (cold shutdown).

            Exit status: 0 after an ordered shutdown, 1 after a cold one, 64 for wrong usage, 69 when a server stayed out of reach, 70 when the project's \
            code can't be loaded, 78 for wrong or missing configuration.
            """,
        version: AgentVersion.text,
        subcommands: [PodCommand.self, WorkerCommand.self, ModulesCommand.self, ProbeCommand.self],
        defaultSubcommand: PodCommand.self
    )
}
