/// Holds tasks back that have a rate limit, by the name of the task. A value type with no clock of its own.
struct RateLimiter: Sendable {
    private var buckets: [String: RateBucket] = [:]

    var isEmpty: Bool { self.buckets.isEmpty }

    /// How many jobs are held back.
    var count: Int { self.buckets.values.reduce(0) { $0 + $1.waiting.count } }

    /// How many waiting messages raise the prefetch count, so that tasks of other kinds are not kept away by them: for each kind what can be run within ten
    /// minutes, since RabbitMQ takes messages back that are held much longer (its `consumer_timeout` is 30 minutes), and a thousand in all.
    var prefetchAllowance: Int {
        let allowance = self.buckets.values.reduce(0.0) { sum, bucket in
            sum + min(Double(bucket.waiting.count), (bucket.limit.perSecond * 600).rounded(.up))
        }
        return Int(min(allowance, 1000))
    }

    func isLimited(_ task: String) -> Bool { self.buckets[task] != nil }

    /// Sets, changes or takes away the limit of a kind of task.
    /// - Returns: jobs that no longer have to wait.
    mutating func limit(_ task: String, to limit: RateLimit?, now: Double) -> [Job.ID] {
        guard let limit else { return self.buckets.removeValue(forKey: task).map { Array($0.waiting) } ?? [] }
        if self.buckets[task] == nil {
            self.buckets[task] = RateBucket(limit: limit, now: now)
        } else {
            self.buckets[task]?.change(to: limit, now: now)
        }
        return []
    }

    /// Adds a job of a limited kind behind those that wait.
    mutating func hold(_ id: Job.ID, task: String) { self.buckets[task]?.append(id) }

    /// The jobs whose time has come.
    mutating func take(now: Double) -> [Job.ID] {
        var taken: [Job.ID] = []
        for task in self.buckets.keys {
            while let id = self.buckets[task]?.take(now: now) { taken.append(id) }
        }
        return taken
    }

    /// When the next job's time comes.
    func due(now: Double) -> Double? { self.buckets.values.compactMap { $0.due(now: now) }.min() }

    mutating func removeAll(where isGone: (Job.ID) -> Bool) {
        for task in self.buckets.keys { self.buckets[task]?.removeAll(where: isGone) }
    }
}
