public import Celery
public import PythonPool

/// What a worker has counted, and what it holds at this moment.
public struct WorkerMetrics: Sendable {
    public var nodeName: String
    /// Of the Python main process; empty until the project is loaded.
    public var celeryVersion = ""
    public var pythonVersion = ""

    /// By the task's name.
    public var tasks: [String: TaskStatistics] = [:]
    /// Messages from task queues.
    public var received = 0
    /// Messages that could not be run as a task.
    public var refused = 0
    /// Jobs whose Python worker died.
    public var lost = 0
    /// Messages that were set aside, since they have cost their Python worker too often.
    public var setAside = 0
    /// How long jobs that have ended had waited for a Python worker once they were ready, in seconds.
    public var waits = Histogram()
    /// Redeliveries that met their task still running, or ended, here.
    public var adopted = 0
    /// Settlements that were not sent, since their connection was gone.
    public var staleSettlements = 0
    /// Replies and events that were not sent, as too many waited.
    public var dropped = 0
    public var connectionsLost = 0

    public var running = 0
    /// Ready, and waiting for a Python worker.
    public var reserved = 0
    /// Waiting for their `eta`.
    public var scheduled = 0
    /// Held back by the rate limit of their task.
    public var limited = 0
    /// As the broker has been told; 0 for no limit, and while there is no session.
    public var prefetch = 0
    public var isConsuming = false
    public var pythonWorkers: [WorkerStatus.State: Int] = [:]
    public var startedAt: EpochSeconds

    public init(nodeName: String, startedAt: EpochSeconds) {
        self.nodeName = nodeName
        self.startedAt = startedAt
    }
}
