/// Lets the number of Python workers follow the work, between two bounds (`celery/worker/autoscale.py`, `Autoscaler`).
///
/// Up at once, one worker for each job that is held here and not waiting for its time; down only when no more was needed for a while.
/// A value type with no clock of its own.
struct Autoscaler: Sendable, Equatable {
    enum Change: Sendable, Equatable {
        case grow(Int)
        /// As far as workers are idle.
        case shrink(Int)
    }

    private(set) var bounds: AutoscaleBounds
    /// Seconds.
    let keepAlive: Double
    /// When it last asked for more; seconds on a clock that never goes back.
    private var lastGrowth: Double?

    init(bounds: AutoscaleBounds, keepAlive: Double) {
        self.bounds = bounds
        self.keepAlive = keepAlive
    }

    /// - Parameters:
    ///   - jobs: held here, running ones included.
    ///   - processes: Python workers now.
    mutating func scale(jobs: Int, processes: Int, now: Double) -> Change? {
        let needed = min(jobs, self.bounds.maximum)
        if needed > processes {
            self.lastGrowth = now
            return .grow(needed - processes)
        }
        let kept = max(jobs, self.bounds.minimum)
        guard kept < processes, let lastGrowth, now - lastGrowth > self.keepAlive else { return nil }
        return .shrink(processes - kept)
    }

    /// Changes the bounds (`celery control autoscale`). What the number of workers must change at once is returned.
    mutating func update(maximum: Int?, minimum: Int?, processes: Int) -> [Change] {
        var changes: [Change] = []
        if let maximum {
            if maximum < processes { changes.append(.shrink(processes - maximum)) }
            self.bounds.maximum = maximum
        }
        if let minimum {
            if minimum > processes { changes.append(.grow(minimum - processes)) }
            self.bounds.minimum = minimum
        }
        return changes
    }
}
