import Celery
import Glibc
import Logging
import PythonPool

extension Worker {
    /// A message's own limits count for more than its task's, and those for more than the worker's (`celery/worker/request.py`,
    /// `execute_using_pool`).
    func limits(of job: Job) -> TimeLimits {
        let options = self.project?.registry.tasks[job.message.task] ?? job.options
        let message = TimeLimits(hard: job.message.hardTimeLimit, soft: job.message.softTimeLimit)
        let task = TimeLimits(hard: options.hardTimeLimit, soft: options.softTimeLimit)
        return TimeLimits(
            hard: message.hard ?? task.hard ?? self.settings?.limits.hard,
            soft: message.soft ?? task.soft ?? self.settings?.limits.soft
        )
    }

    /// The time of running jobs may be over.
    func limitsDue() {
        for expiry in self.runningLimits.expire(now: Self.monotonicClock()) {
            switch expiry {
            case .soft(let id, let limit): self.softLimitReached(id, limit)
            case .hard(let id, let limit): self.hardLimitReached(id, limit)
            }
        }
    }

    private func softLimitReached(_ id: Job.ID, _ limit: Double) {
        guard let job = self.ledger[id] else { return }
        var metadata = self.metadata(of: job.message)
        metadata[LogKeys.limit] = "\(limit)"
        self.logger.warning("soft time limit exceeded", metadata: metadata)
        self.pool.assumeIsolated { _ = $0.kill(job: id, signal: SIGUSR1) }
    }

    /// (`celery/worker/request.py`, `on_timeout` and `on_failure`)
    private func hardLimitReached(_ id: Job.ID, _ limit: Double) {
        guard let job = self.ledger[id] else { return }
        var metadata = self.metadata(of: job.message)
        metadata[LogKeys.limit] = "\(limit)"
        self.logger.error("hard time limit exceeded: the task's process is killed", metadata: metadata)
        if self.copy(of: id, after: .hardLimit(limit)) == nil {
            self.concludeOverdue(id, limit)
        } else {
            self.overdue[id] = limit
        }
        self.pool.assumeIsolated { _ = $0.terminate(job: id) }
    }

    /// The process of a job has ended that was kept in the book past its hard limit, or the job itself.
    func takeOverdue(_ id: Job.ID) -> JobLoss? {
        self.overdue.isEmpty ? nil : self.overdue.removeValue(forKey: id).map { .hardLimit($0) }
    }

    func concludeOverdue(_ id: Job.ID, _ limit: Double) {
        guard let conclusion = self.ledger.conclude(id, .timedOut) else { return self.jobHasEnded() }
        self.statistics.ended(conclusion.job.message.task, .timedOut)
        self.settle(conclusion)
        if conclusion.isRequeued {
            self.markOverdue(conclusion.job, limit)
        } else {
            self.failed(conclusion, after: .hardLimit(limit))
        }
        self.jobHasEnded()
    }

    /// Celery stores this failure even where the task is run again.
    func markOverdue(_ job: Job, _ limit: Double) {
        let error = JobLoss.hardLimit(limit).error(job: job.id)
        self.markFailure(job, type: error.type, arguments: error.arguments)
    }
}
