public import Celery

/// What is asked of a worker before its project is known: by a command line, or by a pod's environment.
///
/// What is `nil` here is left to the project's own configuration, then to Celery's default; ``WorkerSettings`` is what comes of both.
public struct WorkerConfiguration: Sendable {
    /// The worker's name, under which remote control finds it (`-n`).
    public var nodeName: NodeName
    /// Names the broker's addresses, and how to get in (`-b`); with `nil` the project's `broker_url` is used, once it is known.
    public var broker: BrokerConfiguration?
    /// `-P`, `worker_pool`.
    public var pool: PoolKind?
    /// How many Python workers run jobs at the same time (`-c`, `worker_concurrency`); by default as many as there are processors.
    public var concurrency: Int?
    /// Messages reserved for each Python worker (`--prefetch-multiplier`, `worker_prefetch_multiplier`); 0 for no limit.
    public var prefetchMultiplier: Int?
    /// The bounds between which the number of Python workers follows the work (`--autoscale`).
    public var autoscale: AutoscaleBounds?
    /// Seconds a task may take before it is killed (`--time-limit`, `task_time_limit`).
    public var timeLimit: Double?
    /// Seconds a task may take before `SoftTimeLimitExceeded` is raised in it (`--soft-time-limit`, `task_soft_time_limit`).
    public var softTimeLimit: Double?
    /// Whether events of tasks are sent from the start (`-E`, `worker_send_task_events`).
    public var sendsTaskEvents: Bool?
    /// Seconds between two reports of this worker on itself (`--heartbeat-interval`); `nil` for none (`--without-heartbeat`).
    public var heartbeatInterval: Double?
    /// Whether neighbours are asked for their clocks and revoked tasks at each start of a session (not `--without-mingle`).
    public var mingles: Bool
    /// The name of the many that this worker is one of, all of them on its first queue: of neighbours those alone are asked, and a few answers suffice
    /// (``FleetHello``); `nil` for a worker that is one of a kind.
    public var fleet: String?
    /// Whether neighbours' events are listened to (not `--without-gossip`).
    public var gossips: Bool
    /// Where revoked tasks and the clock are kept between two runs (`--statedb`, `worker_state_db`).
    public var stateFile: String?
    /// Whether the queues are emptied before the first message is taken (`--purge`).
    public var purgesQueues: Bool
    /// How long running jobs may take to end in a warm shutdown, in seconds; `nil` for as long as they need.
    public var drainTimeout: Double?
    /// After how many Python workers that it has cost a message is set aside; `nil` for never.
    public var maximumDeliveries: Int?
    /// Whether each message that is taken is told of at `info`, as by Celery's own worker; how its task ends is told by the tracer, in Python.
    public var logsEachTask: Bool
    /// Is waited for before a task that has run is acknowledged late; is given the task's id. It bounds its time itself.
    public var beforeLateAcknowledgement: (@Sendable (_ taskID: String) async -> Void)?

    public init(
        nodeName: NodeName,
        broker: BrokerConfiguration? = nil,
        pool: PoolKind? = nil,
        concurrency: Int? = nil,
        prefetchMultiplier: Int? = nil,
        autoscale: AutoscaleBounds? = nil,
        timeLimit: Double? = nil,
        softTimeLimit: Double? = nil,
        sendsTaskEvents: Bool? = nil,
        heartbeatInterval: Double? = 2,
        mingles: Bool = true,
        fleet: String? = nil,
        gossips: Bool = false,
        stateFile: String? = nil,
        purgesQueues: Bool = false,
        drainTimeout: Double? = nil,
        maximumDeliveries: Int? = nil,
        logsEachTask: Bool = false,
        beforeLateAcknowledgement: (@Sendable (_ taskID: String) async -> Void)? = nil
    ) {
        self.nodeName = nodeName
        self.broker = broker
        self.pool = pool
        self.concurrency = concurrency
        self.prefetchMultiplier = prefetchMultiplier
        self.autoscale = autoscale
        self.timeLimit = timeLimit
        self.softTimeLimit = softTimeLimit
        self.sendsTaskEvents = sendsTaskEvents
        self.heartbeatInterval = heartbeatInterval
        self.mingles = mingles
        self.fleet = fleet
        self.gossips = gossips
        self.stateFile = stateFile
        self.purgesQueues = purgesQueues
        self.drainTimeout = drainTimeout
        self.maximumDeliveries = maximumDeliveries
        self.logsEachTask = logsEachTask
        self.beforeLateAcknowledgement = beforeLateAcknowledgement
    }
}

/// How Celery's own worker would run tasks (`-P`); here it is always in Python processes beside the agent.
public enum PoolKind: String, Sendable, CaseIterable {
    case prefork
    /// One task at a time.
    case solo

    /// As `celery inspect stats` shows it.
    var implementation: String {
        switch self {
        case .prefork: "celery.concurrency.prefork:TaskPool"
        case .solo: "celery.concurrency.solo:TaskPool"
        }
    }
}

/// The fewest and the most Python workers.
public struct AutoscaleBounds: Sendable, Equatable {
    public var minimum: Int
    public var maximum: Int

    public init(minimum: Int, maximum: Int) {
        self.minimum = minimum
        self.maximum = maximum
    }
}
