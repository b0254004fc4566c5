import DequeModule

/// The tasks of one kind that wait for their rate limit: a token bucket that holds one token (`kombu/utils/limits.py`, `TokenBucket`;
/// `celery/worker/consumer/consumer.py`, `_limit_task`).
struct RateBucket: Sendable {
    private(set) var limit: RateLimit
    private var tokens = 1.0
    /// When ``tokens`` was computed; seconds on a clock that never goes back.
    private var time: Double
    /// First come, first served.
    private(set) var waiting = Deque<Job.ID>()

    init(limit: RateLimit, now: Double) {
        self.limit = limit
        self.time = now
    }

    /// Adds a job behind those that wait. It may be taken at once: see ``take(now:)``.
    mutating func append(_ id: Job.ID) { self.waiting.append(id) }

    /// The next job, if its time has come.
    mutating func take(now: Double) -> Job.ID? {
        guard let first = self.waiting.first else { return nil }
        self.fill(now: now)
        // What a sum of fractions lacks is no reason to wait.
        guard self.tokens > 1 - 1e-9 else { return nil }
        self.tokens -= 1
        self.waiting.removeFirst()
        return first
    }

    /// When the next job's time comes; `nil` if none waits.
    func due(now: Double) -> Double? {
        guard !self.waiting.isEmpty else { return nil }
        let tokens = min(1, self.tokens + max(0, now - self.time) * self.limit.perSecond)
        return now + max(0, 1 - tokens) / self.limit.perSecond
    }

    /// Changes the rate; what has been saved up is kept.
    mutating func change(to limit: RateLimit, now: Double) {
        self.fill(now: now)
        self.limit = limit
    }

    mutating func removeAll(where isGone: (Job.ID) -> Bool) { self.waiting.removeAll(where: isGone) }

    private mutating func fill(now: Double) {
        self.tokens = min(1, self.tokens + max(0, now - self.time) * self.limit.perSecond)
        self.time = now
    }
}
