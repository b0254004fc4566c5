import Celery
import Logging
import PythonPool

extension Worker {
    /// What somebody with a right to signal this process asks of it.
    public enum OperatorRequest: Sendable, Equatable {
        case shutdown(ShutdownRequest)
        /// Tell in the log what the worker is doing.
        case report
    }

    public func perform(_ request: OperatorRequest) {
        switch request {
        case .shutdown(let request): self.requestShutdown(request)
        case .report: self.report()
        }
    }

    /// Tells in the log what this worker is doing: for whoever wonders why nothing moves.
    private func report() {
        let jobs = self.ledger.jobs.values
        let workers = self.pool.assumeIsolated { $0.workers }
        self.logger.warning(
            "report: \(self.phase)",
            metadata: [
                LogKeys.queues: "\(self.session?.consumerTags.keys.sorted().joined(separator: ",") ?? "no session")",
                LogKeys.prefetch: "\(self.session?.prefetchCount ?? 0)",
                LogKeys.processes: "\(workers.map { "\($0.pid) \($0.state)" }.joined(separator: ", "))",
                LogKeys.scheduled: "\(self.ledger.scheduledCount)",
                LogKeys.limited: "\(jobs.count { $0.phase == .limited })",
                LogKeys.reserved: "\(jobs.count { $0.phase == .reserved })",
                LogKeys.pythonCalls: "\(self.pythonCallCount)",
            ]
        )
        for (job, status) in self.runningJobs() {
            var metadata = self.metadata(of: job.message)
            metadata[LogKeys.pid] = "\(status.pid)"
            metadata[LogKeys.runtime] = "\(Self.monotonicClock() - Double(status.startedAt) / 1e9)"
            self.logger.warning("report: running", metadata: metadata)
        }
    }
}
