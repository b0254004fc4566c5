import Celery
import Glibc

/// What this worker counts.
public struct Statistics: Sendable {
    /// Tasks by name.
    public internal(set) var tasks: [String: TaskStatistics] = [:]
    /// Messages from task queues.
    public internal(set) var received = 0
    /// Messages that could not be run as a task.
    public internal(set) var refused = 0
    /// Jobs whose Python worker died.
    public internal(set) var lost = 0
    /// Messages that were set aside (``AttemptLimit``).
    public internal(set) var setAside = 0
    /// How long jobs that were ready waited for a Python worker, in seconds.
    public internal(set) var waits = Histogram()
    /// Settlements that were not sent, since their connection was gone.
    public internal(set) var staleSettlements = 0
    public internal(set) var connectionsLost = 0
    /// When this worker was made.
    public let startedAt: EpochSeconds

    init() { self.startedAt = Self.wallClock() }

    /// How many tasks have ended.
    public var processed: Int { self.tasks.values.reduce(0) { $0 + $1.ended } }

    /// Ended tasks by name, as `celery inspect stats` shows them.
    public var total: [String: Int] { self.tasks.mapValues(\.ended).filter { $0.value > 0 } }

    /// As Python's `time.timezone // 3600` has it, or its `altzone` in summer (`celery/utils/time.py`, `utcoffset`).
    static func hoursWestOfUTC() -> Int {
        var now = time(nil)
        var local = tm()
        localtime_r(&now, &local)
        return Int((Double(-local.tm_gmtoff) / 3600).rounded(.down))
    }

    /// - Parameter runtime: in seconds; `nil` where the task was cut short or never ran.
    mutating func ended(_ task: String, _ ending: JobEnding, runtime: Double? = nil) {
        guard let state = TaskStatistics.State(ending) else { return }
        self.tasks[task, default: TaskStatistics()].add(state, runtime: runtime)
    }

    /// A task was revoked, or has expired.
    mutating func revoked(_ task: String, whileItRan: Bool) {
        self.tasks[task, default: TaskStatistics()].add(whileItRan ? .terminated : .revoked)
    }

    /// Seconds since 1970.
    public static func wallClock() -> EpochSeconds {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1_000_000_000
    }
}
