import Celery
import Glibc
import JSON
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
        guard let conclusion = self.ledger.conclude(id, .timedOut) else { return }
        self.statistics.ended(conclusion.job.message.task, .timedOut)
        var metadata = self.metadata(of: conclusion.job.message)
        metadata[LogKeys.limit] = "\(limit)"
        self.logger.error("hard time limit exceeded: the task's process is killed", metadata: metadata)
        self.pool.assumeIsolated { _ = $0.terminate(job: id) }
        // Projects write whole seconds as integers.
        let number = JSON.number(limit)
        self.settle(conclusion)
        if conclusion.isRequeued {
            self.markFailure(conclusion.job, type: "TimeLimitExceeded", arguments: [number])
        } else {
            self.failed(conclusion, type: "TimeLimitExceeded", arguments: [number])
        }
        self.jobHasEnded()
    }
}
