import Celery
import Logging

extension Worker {
    /// Sets up the limits that the project's tasks have (`celery/worker/consumer/consumer.py`, `bucket_for_task`).
    func limitRates() {
        guard let project, let settings, settings.limitsRates else { return }
        let now = Self.monotonicClock()
        for (task, options) in project.registry.tasks {
            let text = options.rateLimit ?? settings.defaultRateLimit
            do throws(RateLimitError) {
                for id in self.rates.limit(task, to: try RateLimit(text), now: now) { self.release(id) }
            } catch {
                self.logger.error(
                    "a task's rate limit can't be understood, and is not kept",
                    metadata: [LogKeys.task: "\(task)", LogKeys.error: "\(error)"]
                )
            }
        }
        self.ratesDue()
    }

    /// A job of a task with a rate limit goes to the pool now, or waits here.
    func hold(_ id: Job.ID, _ message: TaskMessage) {
        self.ledger.hold(id)
        self.rates.hold(id, task: message.task)
        // What waits may expire.
        if let expires = message.expires { self.setDeadline(id, due: expires) }
        self.ratesDue()
        if self.ledger[id]?.phase == .limited {
            self.ledger.detach(id)
            self.updatePrefetch()
        }
        self.armTimer()
    }

    /// The time of jobs that were held back may have come.
    func ratesDue() {
        guard !self.rates.isEmpty else { return }
        let released = self.rates.take(now: Self.monotonicClock())
        for id in released { self.release(id) }
        if !released.isEmpty { self.updatePrefetch() }
    }

    private func release(_ id: Job.ID) {
        if self.ledger.release(id) { self.submit(id) }
    }

    /// - Throws: ``RateLimitError`` for text that is no rate.
    func changeRate(of task: String, to text: String?) throws(RateLimitError) {
        let limit = try RateLimit(text)
        self.project?.registry.tasks[task]?.rateLimit = text
        guard self.settings?.limitsRates == true else { return }
        for id in self.rates.limit(task, to: limit, now: Self.monotonicClock()) { self.release(id) }
        self.ratesDue()
        self.updatePrefetch()
        self.armTimer()
    }
}
