public import ArgumentParser

/// The options of `celery` and `celery worker` by their own names, as text; ``CeleryAppConfiguration`` is what they come to.
///
/// Which of them there are: `celery/bin/celery.py`, `celery/bin/worker.py`, `celery/bin/base.py`.
public struct CeleryAppOptions: ParsableArguments, Sendable {
    @OptionGroup(title: "Project")
    public var project: ProjectOptions
    @OptionGroup(title: "Worker")
    public var worker: WorkerOptions
    @OptionGroup(title: "Pool")
    public var pool: PoolOptions
    @OptionGroup(title: "Queues")
    public var queues: QueueOptions
    @OptionGroup(title: "Features")
    public var features: FeatureOptions
    @OptionGroup(title: "Process")
    public var process: ProcessOptions
    @OptionGroup(visibility: .hidden)
    var refused: RefusedOptions

    @Argument(
        parsing: .allUnrecognized,
        help: ArgumentHelp(
            "Settings, as in worker.soft_shutdown_timeout=3, and options that the project defines (app.user_options).",
            valueName: "setting=value"
        )
    )
    public var arguments: [String] = []

    public init() {}
}

/// What to load. `celery` takes these before its subcommand; here they may stand on either side of `worker`.
public struct ProjectOptions: ParsableArguments, Sendable {
    @Option(
        name: [.customShort("A", allowingJoined: true), .long],
        help: ArgumentHelp(
            "Where the app is; without it, Celery's default app and a celeryconfig module.",
            valueName: "module[:app]"
        )
    )
    var app: String?

    @Option(
        name: [.customShort("b", allowingJoined: true), .long],
        help: ArgumentHelp("The broker, amqp:// or amqps://, in place of broker_url.", valueName: "url")
    )
    var broker: String?

    @Option(help: ArgumentHelp("In place of result_backend.", valueName: "url"))
    var resultBackend: String?

    @Option(help: ArgumentHelp("Class of the loader that the default app uses.", valueName: "class"))
    var loader: String?

    @Option(help: ArgumentHelp("Module that the default app is configured by (celeryconfig).", valueName: "module"))
    var config: String?

    @Option(help: ArgumentHelp("Folder to change to, before all else.", valueName: "folder"))
    var workdir: String?

    @Flag(name: [.customShort("C"), .long], help: "Log without colours.")
    var noColor = false

    @Flag(name: [.short, .long], help: "Start without a banner.")
    var quiet = false

    @Flag(help: "Leave out Django's checks at the start.")
    var skipChecks = false

    public init() {}
}

public struct WorkerOptions: ParsableArguments, Sendable {
    @Option(
        name: [.customShort("n", allowingJoined: true), .long],
        help: ArgumentHelp("The node's name: %h is the host, %n its name, %d its domain.", valueName: "name@host")
    )
    var hostname: String?

    @Option(
        name: [.customShort("l", allowingJoined: true), .long],
        help: "DEBUG, INFO, WARNING (the default), ERROR, CRITICAL or FATAL."
    )
    var loglevel: String?

    @Option(
        name: [.customShort("S", allowingJoined: true), .long],
        help: ArgumentHelp("Where revoked tasks and the clock outlive the worker.", valueName: "path")
    )
    var statedb: String?

    @Option(
        name: [.customShort("O", allowingJoined: true), .long],
        help: "default or fair; both give a job to the worker that is idle."
    )
    var optimization: String?

    @Option(
        help: ArgumentHelp("Messages reserved for each process; 0, other than in Celery, for no limit.", valueName: "n")
    )
    var prefetchMultiplier: String?

    @Flag(help: "Without effect on RabbitMQ, as in Celery: only Redis knows it.")
    var disablePrefetch = false

    public init() {}
}

public struct PoolOptions: ParsableArguments, Sendable {
    @Option(
        name: [.customShort("c", allowingJoined: true), .long],
        help: ArgumentHelp(
            "Python processes; by default one a processor. auto heeds the container's limit.",
            valueName: "n|auto"
        )
    )
    var concurrency: String?

    @Option(name: [.customShort("P", allowingJoined: true), .long], help: "prefork, or solo: one task at a time.")
    var pool: String?

    @Flag(name: [.customShort("E"), .long, .customLong("events")], help: "Send the events of tasks, for monitors.")
    var taskEvents = false

    @Option(help: ArgumentHelp("Processes as the work needs them, the bounds in either order.", valueName: "max,min"))
    var autoscale: String?

    @Option(help: ArgumentHelp("Seconds before a task's process is killed.", valueName: "seconds"))
    var timeLimit: String?

    @Option(help: ArgumentHelp("Seconds before SoftTimeLimitExceeded is raised in a task.", valueName: "seconds"))
    var softTimeLimit: String?

    @Option(help: ArgumentHelp("Tasks after which a process is replaced.", valueName: "n"))
    var maxTasksPerChild: String?

    @Option(help: ArgumentHelp("Resident memory after which a process is replaced.", valueName: "KiB"))
    var maxMemoryPerChild: String?

    @Option(help: "fork (Celery 5.7).")
    var poolStartMethod: String?

    public init() {}
}

public struct QueueOptions: ParsableArguments, Sendable {
    @Option(
        name: [.customShort("Q", allowingJoined: true), .long],
        help: ArgumentHelp("Queues to consume, with commas between them.", valueName: "queues")
    )
    var queues: String?

    @Option(
        name: [.customShort("X", allowingJoined: true), .long],
        help: ArgumentHelp("Queues not to consume.", valueName: "queues")
    )
    var excludeQueues: String?

    @Option(
        name: [.customShort("I", allowingJoined: true), .long],
        help: ArgumentHelp("Further modules to import.", valueName: "modules")
    )
    var include: String?

    @Flag(name: [.long, .customLong("discard")], help: "Delete what waits on the queues, then start.")
    var purge = false

    public init() {}
}

public struct FeatureOptions: ParsableArguments, Sendable {
    @Flag(
        help: "Listen to neighbours' events. Off by default, other than in Celery: n workers would read n² heartbeats."
    )
    var withGossip = false

    @Flag(help: "The default.")
    var withoutGossip = false

    @Flag(
        help: "Don't ask neighbours for revoked tasks. Other than in Celery, jobs never wait for the answers."
    )
    var withoutMingle = false

    @Flag(help: "Send no worker-heartbeat events.")
    var withoutHeartbeat = false

    @Option(help: ArgumentHelp("Seconds between two of them (2).", valueName: "seconds"))
    var heartbeatInterval: String?

    public init() {}
}

public struct ProcessOptions: ParsableArguments, Sendable {
    @Option(
        name: [.customShort("f", allowingJoined: true), .long],
        help: ArgumentHelp(
            "Where to log, if not to standard error; %n, %h, %d as in -n, %i for the process.",
            valueName: "path"
        )
    )
    var logfile: String?

    @Option(help: ArgumentHelp("File that holds the process id while the worker runs.", valueName: "path"))
    var pidfile: String?

    @Option(help: ArgumentHelp("User to become, by name or number.", valueName: "user"))
    var uid: String?

    @Option(help: ArgumentHelp("Group to become, by name or number.", valueName: "group"))
    var gid: String?

    @Option(help: ArgumentHelp("Permissions that new files don't get, octal.", valueName: "mode"))
    var umask: String?

    public init() {}
}

/// What Celery's worker has and this one does not; declared so that the answer says why.
struct RefusedOptions: ParsableArguments, Sendable {
    @Flag(name: [.customShort("D"), .long])
    var detach = false

    @Flag(name: [.customShort("B"), .long])
    var beat = false

    @Option(name: [.customShort("s", allowingJoined: true), .long, .customLong("schedule")])
    var scheduleFilename: String?

    @Option
    var scheduler: String?

    @Option
    var executable: String?
}
