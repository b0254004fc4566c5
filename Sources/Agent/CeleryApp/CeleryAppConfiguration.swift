import Celery
import CeleryWorker
import Logging
import NIOCore

/// What a command line asks of a worker for a Celery project, checked as far as that needs no project.
public struct CeleryAppConfiguration: Sendable {
    /// Python's name of a level, and ours.
    public struct LogLevel: Sendable, Equatable {
        /// As `logging` spells it.
        var name: String
        var level: Logger.Level

        /// `nil` for a name that Celery does not know; case doesn't matter.
        init?(_ text: String) {
            self.name = text.uppercased() == "FATAL" ? "CRITICAL" : text.uppercased()
            switch self.name {
            case "DEBUG": self.level = .debug
            case "INFO": self.level = .info
            case "WARNING": self.level = .warning
            case "ERROR": self.level = .error
            case "CRITICAL": self.level = .critical
            default: return nil
            }
        }
    }

    var app: String?
    /// Holds secrets.
    var broker: String?
    /// May hold secrets.
    var resultBackend: String?
    var loader: String?
    var config: String?
    var workingDirectory: String?
    var isWithoutColor: Bool
    var isQuiet: Bool
    var skipsChecks: Bool

    var nodeName: NodeName
    var logLevel: LogLevel
    /// As given: `%i` differs from process to process.
    var logFile: String?
    var stateFile: String?
    var prefetchMultiplier: Int?
    var disablesPrefetch: Bool

    /// `nil` where the project's configuration is to tell.
    var pool: PoolKind?
    var concurrency: Int?
    var autoscale: AutoscaleBounds?
    var sendsTaskEvents: Bool
    var timeLimit: Double?
    var softTimeLimit: Double?
    var maximumTasksPerChild: Int?
    /// In KiB.
    var maximumMemoryPerChild: Int?

    var queues: [String]
    var excludedQueues: [String]
    var include: [String]
    var purgesQueues: Bool

    var gossips: Bool
    var mingles: Bool
    /// `nil` for no heartbeats.
    var heartbeatInterval: Double?

    var pidFile: String?
    var user: String?
    var group: String?
    var mask: UInt32?

    /// What the project is to make of it.
    var arguments: [String]

    /// `AGENT_LOG_FORMAT`.
    var logFormat: LogFormat
    /// `AGENT_PYTHON`.
    var python: String?
    /// `AGENT_DRAIN_SECONDS`.
    var drainLimit: Duration?
    /// `AGENT_HTTP_PORT` and `AGENT_HTTP_HOST`: where probes are answered; `nil` for nowhere.
    var probes: ProbeServer.Address?
    /// `AGENT_MAX_DELIVERIES`.
    var maximumDeliveries: Int?

    /// - Parameters:
    ///   - environment: of this process; it also holds Celery's variables for options that are not given.
    ///   - hostName: of this machine.
    /// - Throws: ``OptionProblems`` with all that is wrong with the options, or ``ConfigurationErrors``.
    public init(
        _ options: CeleryAppOptions,
        environment: [String: String],
        hostName: String = CeleryApp.hostName
    ) throws {
        var reader = OptionReader(environment: environment)
        let project = options.project
        self.app = reader.general("--app", project.app, .text, variable: "APP")
        self.broker = reader.general("--broker", project.broker, .anything, variable: "BROKER_URL")
        self.resultBackend = reader.general(
            "--result-backend",
            project.resultBackend,
            .anything,
            variable: "RESULT_BACKEND"
        )
        self.loader = reader.general("--loader", project.loader, .text, variable: "LOADER")
        self.config = reader.general("--config", project.config, .text, variable: "CONFIG_MODULE")
        self.workingDirectory = reader.general("--workdir", project.workdir, .text)
        // Any text at all in NO_COLOR means yes (no-color.org).
        self.isWithoutColor =
            project.noColor || !(environment["NO_COLOR"] ?? "").isEmpty
            || reader.general("--no-color", nil, .boolean) == true
        self.isQuiet = project.quiet || reader.general("--quiet", nil, .boolean) == true
        self.skipsChecks =
            project.skipChecks || !(environment["SKIP_CHECKS"] ?? "").isEmpty
            || reader.general("--skip-checks", nil, .boolean) == true

        let worker = options.worker
        self.nodeName = NodeName(
            expanding: reader.worker("--hostname", worker.hostname, .text) ?? "",
            hostName: hostName
        )
        self.logLevel = reader.worker("--loglevel", worker.loglevel, .logLevel) ?? .standard
        self.stateFile = reader.worker("--statedb", worker.statedb, .text)
        // Both are what the pool does.
        _ = reader.worker("--optimization", worker.optimization, .word(["default", "fair"]))
        self.prefetchMultiplier = reader.worker("--prefetch-multiplier", worker.prefetchMultiplier, .number(0...65535))
        self.disablesPrefetch = reader.flag("--disable-prefetch", worker.disablePrefetch)

        let pool = options.pool
        self.pool = reader.worker("--pool", pool.pool, .pool)
        self.concurrency = reader.worker("--concurrency", pool.concurrency, .concurrency).flatMap { $0 == 0 ? nil : $0 }
        self.autoscale = reader.worker("--autoscale", pool.autoscale, .autoscale)
        self.sendsTaskEvents = reader.flag("--task-events", pool.taskEvents)
        self.timeLimit = reader.worker("--time-limit", pool.timeLimit, .seconds)
        self.softTimeLimit = reader.worker("--soft-time-limit", pool.softTimeLimit, .seconds)
        self.maximumTasksPerChild = reader.worker("--max-tasks-per-child", pool.maxTasksPerChild, .count)
        self.maximumMemoryPerChild = reader.worker("--max-memory-per-child", pool.maxMemoryPerChild, .count)
        let spawning = ": processes are forked from one that has imported the project; for spawn use celery worker"
        _ = reader.worker("--pool-start-method", pool.poolStartMethod, .word(["fork"], else: spawning))

        let queues = options.queues
        self.queues = reader.worker("--queues", queues.queues, .list) ?? []
        self.excludedQueues = reader.worker("--exclude-queues", queues.excludeQueues, .list) ?? []
        self.include = reader.worker("--include", queues.include, .list) ?? []
        self.purgesQueues = reader.flag("--purge", queues.purge)

        let features = options.features
        // The flag that says no is there for command lines of Celery's, and counts for more.
        self.gossips = features.withGossip && !reader.flag("--without-gossip", features.withoutGossip)
        self.mingles = !reader.flag("--without-mingle", features.withoutMingle)
        let interval = reader.worker("--heartbeat-interval", features.heartbeatInterval, .seconds) ?? 0
        self.heartbeatInterval =
            reader.flag("--without-heartbeat", features.withoutHeartbeat) ? nil : interval > 0 ? interval : 2

        let process = options.process
        self.logFile = reader.worker("--logfile", process.logfile, .text)
        self.pidFile = reader.worker("--pidfile", process.pidfile, .text)
        self.user = reader.worker("--uid", process.uid, .text)
        self.group = reader.worker("--gid", process.gid, .text)
        self.mask = reader.worker("--umask", process.umask, .mode)
        self.arguments = options.arguments
        options.refused.report(to: &reader)

        var variables = EnvironmentReader(environment)
        self.logFormat = variables[Variables.logFormat]
        self.python = variables[Variables.python]
        let drain = variables[Variables.drainSeconds]
        self.drainLimit = drain == .zero ? nil : drain
        self.probes = ProbeServer.Address(reading: &variables)
        let deliveries = variables[Variables.maximumDeliveries]
        self.maximumDeliveries = deliveries == 0 ? nil : deliveries
        guard reader.problems.isEmpty else { throw OptionProblems(problems: reader.problems) }
        guard variables.problems.isEmpty else { throw ConfigurationErrors(problems: variables.problems) }
    }
}

extension CeleryAppConfiguration.LogLevel {
    /// Celery's default.
    static var standard: Self { Self(name: "WARNING", level: .warning) }

    private init(name: String, level: Logger.Level) {
        self.name = name
        self.level = level
    }
}

extension ValueFormat where Value == Int {
    /// A number for which 0 means that there is no limit.
    static var count: Self { .number(0...Int(Int32.max)) }

    /// Processes: `auto` for as many as the container may use; 0 leaves it to the configuration, as in Celery.
    static var concurrency: Self {
        let number = Self.number(0...1000)
        return Self(expected: number.expected + ", or auto") { text in
            text == "auto" ? NIOCore.System.coreCount : number.parse(text)
        }
    }
}

extension RefusedOptions {
    /// Says of each that is given why it is not honoured, and what to do.
    func report(to reader: inout OptionReader) {
        if reader.flag("--detach", self.detach) {
            reader.report(
                "--detach",
                found: "the flag",
                expected: "a worker in the foreground: let systemd, a container or nohup keep it running"
            )
        }
        if reader.flag("--beat", self.beat) {
            reader.report(
                "--beat",
                found: "the flag",
                expected: "no scheduler within the worker: run celery beat beside it, once for all workers"
            )
        }
        let scheduling = "no option of a scheduler: give it to celery beat"
        for (option, value) in [("--schedule-filename", self.scheduleFilename), ("--scheduler", self.scheduler)] {
            if let value = reader.worker(option, value, .text) {
                reader.report(option, found: Redaction.quoted(value), expected: scheduling)
            }
        }
        if let value = reader.worker("--executable", self.executable, .text) {
            reader.report(
                "--executable",
                found: Redaction.quoted(value),
                expected: "the interpreter in the environment variable AGENT_PYTHON"
            )
        }
    }
}
