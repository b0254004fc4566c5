import AMQP
import Celery
import Glibc
import JSON
import Logging
import NIOCore
import PythonPool

extension Worker {
    /// Ends a session in order: no more deliveries, what has not started goes back, running jobs end and their settlements reach the broker.
    /// Remote control is answered all along.
    func drain(_ session: Session) async throws {
        self.fire(
            "worker_shutting_down",
            ["sig": "SIGTERM", "how": .string(self.phase == .draining ? "Warm" : "Cold"), "exitcode": 0]
        )
        for tag in session.consumerTags.values { try await session.tasks.cancel(consumerTag: tag) }
        self.returnUnstarted()
        if self.phase == .draining { await self.untilJobsHaveEnded() }
        if self.phase == .stopping { self.endRunningJobs() }
        // The broker answers a close after it has handled all that was sent before it, the last acknowledgement too.
        try await session.tasks.close()
        try await session.control.close()
    }

    /// What is held here but has not started goes back to its queue at once.
    private func returnUnstarted() {
        let withdrawn = self.pool.assumeIsolated { $0.withdrawAll() }
        let scheduled = self.ledger.jobs.values.filter {
            if case .scheduled = $0.phase { return true }
            return false
        }
        for id in withdrawn + scheduled.map(\.id) {
            if let settle = self.ledger.discard(id, .reject(requeue: true))?.settle { self.settle(settle) }
        }
    }

    func untilJobsHaveEnded() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                // Cancelled once the drain's time is over.
                try? await self.wait { $0.ledger.isEmpty || $0.phase == .stopping }
            }
            if let seconds = self.configuration.drainTimeout {
                group.addTask {
                    guard (try? await Task.sleep(for: .seconds(seconds))) != nil else { return }
                    await self.drainTimedOut(after: seconds)
                }
            }
            await group.next()
            group.cancelAll()
        }
    }

    private func drainTimedOut(after seconds: Double) {
        self.logger.error(
            "running jobs have not ended in time (AGENT_DRAIN_SECONDS): they are ended and go back to the broker",
            metadata: [LogKeys.running: "\(self.ledger.jobs.count)", LogKeys.runtime: "\(seconds)"]
        )
        self.requestShutdown(.cold)
    }

    func endRunningJobs() {
        let ids = Array(self.ledger.jobs.keys)
        self.pool.assumeIsolated { pool in
            for id in ids { pool.kill(job: id, signal: SIGTERM) }
        }
    }

    /// How long `worker_process_shutdown` may take in user code.
    private static let workerShutdownLimit = Duration.seconds(30)

    func stopPool() async {
        if self.phase == .draining { await self.fireAndWait("worker_shutdown") }
        // In a cold shutdown the workers have been told to end; what does not is killed.
        await self.pool.shutdown(deadline: self.phase == .stopping ? .milliseconds(500) : Self.workerShutdownLimit)
    }
}
