import AMQP
import Celery
import Glibc
import JSON

/// How a worker works: what was asked of it, where nothing was asked the project's configuration, else Celery's default
/// (`celery/worker/worker.py`, `setup_defaults`; `celery/app/defaults.py`).
struct WorkerSettings: Sendable {
    var broker: BrokerConfiguration
    /// Where replies and events are sent, if not to ``broker`` (`broker_write_url`).
    var publishingBroker: BrokerConfiguration
    var pool: PoolKind
    var concurrency: Int
    /// 0 for no limit.
    var prefetchMultiplier: Int
    /// How long a Python worker may take to be ready (`worker_proc_alive_timeout`). Celery's default, 4 seconds, ends workers that start slowly
    /// again and again, so it stands for the pool's own here.
    var readyDeadline: Duration?
    var autoscale: AutoscaleBounds?
    /// Seconds without a need for more workers after which one is let go (`AUTOSCALE_KEEPALIVE`).
    var autoscaleKeepAlive: Double
    /// Of tasks that have none of their own; seconds.
    var limits: TimeLimits
    var sendsTaskEvents: Bool
    var heartbeatInterval: Double?
    var stateFile: String?
    /// The most tasks with an `eta` by which the prefetch count rises (`worker_eta_task_limit`).
    var etaTaskLimit: Int?
    /// Of tasks that have none of their own (`task_default_rate_limit`).
    var defaultRateLimit: String?
    var limitsRates: Bool
    var allowsPoolRestarts: Bool
    var hasRemoteControl: Bool
    /// Seconds that running tasks get in a cold shutdown before they are ended (`worker_soft_shutdown_timeout`).
    var softShutdownTimeout: Double
    /// Whether those seconds are kept even if no task runs (`worker_enable_soft_shutdown_on_idle`).
    var softShutdownOnIdle: Bool
    /// Whether running tasks with a late acknowledgement end with their connection.
    var cancelsTasksOnConnectionLoss: Bool

    init(_ configuration: WorkerConfiguration, project: Project) throws(ConfigurationProblem) {
        let publishing: BrokerConfiguration?
        if let broker = configuration.broker {
            self.broker = broker
            publishing = nil
        } else {
            self.broker = try BrokerConfiguration(project, setting: "broker_read_url", node: configuration.nodeName)
            publishing = try BrokerConfiguration(project, setting: "broker_write_url", node: configuration.nodeName)
        }
        self.publishingBroker = publishing ?? self.broker
        self.autoscale = configuration.autoscale
        let processes = configuration.concurrency ?? project.setting("worker_concurrency")?.int
        // Names that mean neither are refused when the project is loaded.
        self.pool =
            configuration.pool ?? project.setting("worker_pool")?.string.flatMap(PoolKind.init(rawValue:)) ?? .prefork
        self.concurrency = self.pool == .solo ? 1 : max(1, processes ?? Self.processorCount)
        if let autoscale { self.concurrency = max(1, autoscale.minimum) }
        self.prefetchMultiplier =
            configuration.prefetchMultiplier ?? project.setting("worker_prefetch_multiplier")?.int ?? 4
        self.readyDeadline = project.setting("worker_proc_alive_timeout")?.double.flatMap { seconds in
            seconds > 0 && seconds != Self.celeryReadyDeadline ? .seconds(min(seconds, 1_000_000)) : nil
        }
        self.autoscaleKeepAlive = Self.environment("AUTOSCALE_KEEPALIVE").flatMap(Double.init) ?? 30
        self.limits = TimeLimits(
            hard: configuration.timeLimit ?? project.setting("task_time_limit")?.double,
            soft: configuration.softTimeLimit ?? project.setting("task_soft_time_limit")?.double
        )
        self.sendsTaskEvents =
            configuration.sendsTaskEvents ?? project.setting("worker_send_task_events")?.bool ?? false
        self.heartbeatInterval = configuration.heartbeatInterval
        self.stateFile = configuration.stateFile ?? project.setting("worker_state_db")?.string
        self.etaTaskLimit = project.setting("worker_eta_task_limit")?.int
        self.defaultRateLimit = project.setting("task_default_rate_limit")?.rateLimit
        self.limitsRates = !(project.setting("worker_disable_rate_limits")?.bool ?? false)
        self.allowsPoolRestarts = project.setting("worker_pool_restarts")?.bool ?? false
        self.hasRemoteControl = project.setting("worker_enable_remote_control")?.bool ?? true
        self.softShutdownTimeout = max(0, project.setting("worker_soft_shutdown_timeout")?.double ?? 0)
        self.softShutdownOnIdle = project.setting("worker_enable_soft_shutdown_on_idle")?.bool ?? false
        self.cancelsTasksOnConnectionLoss =
            project.setting("worker_cancel_long_running_tasks_on_connection_loss")?.bool ?? false
    }

    private static let celeryReadyDeadline = 4.0

    /// As Python's `os.cpu_count()`.
    private static var processorCount: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

    private static func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
}

/// Seconds that a task may take; `nil` for as long as it needs.
public struct TimeLimits: Sendable, Equatable {
    /// Then its process is killed.
    public var hard: Double?
    /// Then `SoftTimeLimitExceeded` is raised in it.
    public var soft: Double?

    public init(hard: Double? = nil, soft: Double? = nil) {
        // Celery takes 0 for none.
        self.hard = hard == 0 ? nil : hard
        self.soft = soft == 0 ? nil : soft
    }

    var isNone: Bool { self.hard == nil && self.soft == nil }
}

/// A setting of the project that this worker can't work with.
public struct ConfigurationProblem: Error, Sendable, Equatable, CustomStringConvertible {
    /// The setting's name, in Celery's spelling.
    public var setting: String
    /// What was found, fit to be shown.
    public var found: String
    public var expected: String

    public var description: String { "\(self.setting): found \(self.found), expected \(self.expected)" }
}

extension JSON {
    /// A rate limit as projects write it: text, or a number of tasks a second.
    var rateLimit: String? { self.string ?? self.int.map(String.init) ?? self.double.map { $0.description } }
}
