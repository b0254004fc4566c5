import Celery
import PythonPool

extension Worker {
    /// Whether this worker works, and why not.
    public var health: WorkerHealth {
        let consumed = self.session?.consumerTags.keys.sorted() ?? []
        return WorkerHealth(
            nodeName: self.nodeName,
            phase: self.phase,
            hasProject: self.project != nil,
            isConnected: self.session != nil,
            queues: consumed,
            missingQueues: (self.project?.queues ?? []).map(\.name).filter { !consumed.contains($0) }
        )
    }

    /// What this worker has counted, and what it holds; computed when it is asked for, so that jobs don't pay for it.
    public var metrics: WorkerMetrics {
        var metrics = WorkerMetrics(nodeName: self.nodeName, startedAt: self.statistics.startedAt)
        if let manifest = self.project?.manifest {
            metrics.celeryVersion = manifest.celeryVersion
            metrics.pythonVersion = manifest.pythonVersion
        }
        metrics.tasks = self.statistics.tasks
        metrics.received = self.statistics.received
        metrics.refused = self.statistics.refused
        metrics.lost = self.statistics.lost
        metrics.setAside = self.statistics.setAside
        metrics.waits = self.statistics.waits
        metrics.adopted = self.ledger.adoptedCount
        metrics.staleSettlements = self.statistics.staleSettlements
        metrics.dropped = self.publisher.assumeIsolated { $0.droppedCount }
        metrics.connectionsLost = self.statistics.connectionsLost
        // A job with a late acknowledgement does not report its start, so the pool's own books count.
        let workers = self.pool.assumeIsolated { $0.workers }
        metrics.running = workers.count { $0.currentJob != nil }
        metrics.scheduled = self.ledger.scheduledCount
        metrics.limited = self.rates.count
        metrics.reserved = max(0, self.ledger.jobs.count - metrics.scheduled - metrics.limited - metrics.running)
        metrics.prefetch = Int(self.session?.prefetchCount ?? 0)
        metrics.isConsuming = self.health.isReady
        metrics.pythonWorkers = workers.reduce(into: [:]) { $0[$1.state, default: 0] += 1 }
        return metrics
    }
}
