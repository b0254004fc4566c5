import AMQP
public import Celery
import Glibc
import JSON
public import Logging
public import NIOCore
public import PythonPool

/// A Celery worker: consumes queues, hands jobs to Python workers, settles each delivery once, and answers remote control.
///
/// An actor on the event loop that its connections and its pool share, so that a job goes from the socket to a Python worker, and its end
/// back to the broker, in synchronous calls on one thread. What waits (connecting, draining, remote-control commands that ask Python)
/// is structured concurrency under ``run(loading:)``.
public actor Worker {
    /// How a run has ended.
    public enum Ending: Sendable, Equatable {
        /// All running jobs had ended, and the broker knows.
        case warm
        /// Running jobs were cut short, and have gone back to the broker.
        case cold
    }

    /// How a worker is asked to stop.
    public enum ShutdownRequest: Sendable, Comparable {
        /// Start no further job, let the running ones end.
        case warm
        /// End the running jobs, after a time in which they may end by themselves (`worker_soft_shutdown_timeout`, none as a rule); asked for in
        /// that time, end them now.
        case cold
    }

    public enum Phase: Sendable, Comparable {
        /// It has not consumed yet.
        case starting
        case running
        /// No further job is started; those that run may end.
        case draining
        /// As ``draining``, for a time that is short (`worker_soft_shutdown_timeout`).
        case softening
        /// Running jobs are cut short.
        case stopping
    }

    public nonisolated let eventLoop: any EventLoop
    public nonisolated var unownedExecutor: UnownedSerialExecutor { self.eventLoop.executor.asUnownedSerialExecutor() }

    let configuration: WorkerConfiguration
    private let poolConfiguration: PoolConfiguration
    /// Made when it is first needed, since its events come back here.
    private(set) lazy var pool = PythonPool(
        configuration: self.poolConfiguration,
        eventLoop: self.eventLoop,
        logger: self.logger,
        onEvent: { [weak self] event in self?.assumeIsolated { $0.poolEvent(event) } }
    )
    let publisher: Publisher
    let logger: Logger
    let wallClock: @Sendable () -> EpochSeconds
    let nodeName: String

    var phase = Phase.starting
    var project: Project?
    /// Known with the project.
    var settings: WorkerSettings?
    var events: EventDispatcher
    var isEventFlushScheduled = false
    /// Whether ``saveState()`` has something to do.
    var isStateUnsaved = false
    var isPrefetchUpdateScheduled = false
    /// Calls to Python whose end is not known yet.
    var pythonCallCount = 0
    var ledger = Ledger()
    var session: Session?
    var clock = LamportClock()
    var statistics = Statistics()
    /// When jobs with an `eta`, or with `expires`, are due, on the wall clock.
    var deadlines = DeadlineQueue()
    var runningLimits = RunningLimits()
    /// Jobs past their hard limit, in seconds, whose process is being killed: then the message is counted (``AttemptLimit``).
    var overdue: [Job.ID: Double] = [:]
    var rates = RateLimiter()
    /// Tasks that were revoked with a signal that need not end them: how each ends is still told.
    var survivors: [Job.ID: Ledger.Conclusion] = [:]
    var autoscaler: Autoscaler?
    var revokedTasks = RevokedTasks(bounds: .environment)
    var revokedStamps = RevokedStamps()
    /// Who has answered this session's `hello`.
    var neighboursMet: Set<String> = []
    /// The connection over which neighbours' events come.
    var gossipEpoch: UInt64?
    lazy var neighbourhood = Gossip(node: self.nodeName, pid: getpid())
    /// The one timer: when it rings, on the monotonic clock.
    var timer: (due: Double, callback: NIOScheduledCallback)?

    /// Wakes whoever waits for the worker's state to change: the session that drains, the start that waits for the project.
    let stateChanges = Broadcast()
    /// What this actor does beside its synchronous work; see ``background(_:)``.
    let backgroundWork = AsyncStream<@Sendable (isolated Worker) async -> Void>.makeStream()

    /// - Parameters:
    ///   - pool: how the Python processes are to be.
    ///   - eventLoop: the loop for all of it: connections, pool, and this actor.
    ///   - wallClock: seconds since 1970, for `eta`, `expires` and what is shown to people.
    public init(
        configuration: WorkerConfiguration,
        pool: PoolConfiguration,
        eventLoop: any EventLoop,
        logger: Logger,
        wallClock: @escaping @Sendable () -> EpochSeconds = Statistics.wallClock
    ) {
        self.configuration = configuration
        self.poolConfiguration = pool
        self.eventLoop = eventLoop
        self.logger = logger
        self.wallClock = wallClock
        self.nodeName = configuration.nodeName.description
        let encoder = EventEncoder(nodeName: self.nodeName, utcOffset: Statistics.hoursWestOfUTC(), pid: getpid())
        self.events = EventDispatcher(encoder: encoder, groups: [.worker])
        self.publisher = Publisher(eventLoop: eventLoop, logger: logger)
    }

    /// Works until it is asked to stop, or until a failure that waiting can't mend.
    /// - Parameter load: has the pool load the project; runs while the broker is being reached.
    /// - Throws: what `load` throws, and what ends the pool or refuses the connection for good.
    public func run(
        loading load: @escaping @Sendable (PythonPool) async throws -> Manifest
    ) async throws -> Ending {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await self.publisher.run() }
            group.addTask { await self.runBackgroundWork() }
            group.addTask { await self.runHeartbeat() }
            group.addTask { await self.runAutoscaler() }
            group.addTask { await self.runStateKeeper() }
            defer { group.cancelAll() }
            try await self.serve(loading: load)
            self.flushEvents()
            self.sendWorkerEvent(.workerOffline)
            await self.publisher.close()
        }
        return self.phase == .stopping ? .cold : .warm
    }

    /// Waits until the worker has been asked to stop.
    public func shutdownRequested() async throws {
        try await self.wait { $0.phase > .running }
    }

    /// Asks the worker to stop; may be called at any time, and again to make a warm shutdown a cold one.
    public func requestShutdown(_ request: ShutdownRequest) {
        let phase: Phase
        switch request {
        case .warm: phase = .draining
        case .cold: phase = self.phase < .softening && self.softensShutdown ? .softening : .stopping
        }
        guard phase > self.phase else { return }
        self.logger.info(
            "\(phase.announcement)",
            metadata: [LogKeys.running: "\(self.ledger.jobs.count - self.ledger.scheduledCount)"]
        )
        self.phase = phase
        self.stateChanges.send()
    }

    private var softensShutdown: Bool {
        guard let settings, settings.softShutdownTimeout > 0 else { return false }
        return settings.softShutdownOnIdle || !self.runningJobs().isEmpty
    }
}

extension Worker.Phase {
    fileprivate var announcement: String {
        switch self {
        case .draining: "shutting down: no further job is started, running jobs may end"
        case .softening: "shutting down soon: running jobs may end within worker_soft_shutdown_timeout"
        case .starting, .running, .stopping: "shutting down at once: running jobs are ended"
        }
    }
}
