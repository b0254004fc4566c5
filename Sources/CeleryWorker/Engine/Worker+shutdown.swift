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
        self.fireShuttingDown()
        for tag in session.consumerTags.values { try await session.tasks.cancel(consumerTag: tag) }
        self.returnUnstarted()
        await self.finishRunningJobs()
        // The broker answers a close after it has handled all that was sent before it, the last acknowledgement too.
        try await session.tasks.close()
        try await session.control.close()
    }

    private func fireShuttingDown() {
        let isWarm = self.phase == .draining
        self.fire(
            "worker_shutting_down",
            [
                "sig": .string(isWarm ? "SIGTERM" : "SIGQUIT"), "how": .string(isWarm ? "Warm" : "Cold"),
                "exitcode": isWarm ? 0 : 1,
            ]
        )
    }

    /// What is held here but has not started goes back to its queue at once.
    private func returnUnstarted() {
        let withdrawn = self.pool.assumeIsolated { $0.withdrawAll() }
        let waiting = self.ledger.jobs.values.filter { $0.isWaiting }
        for id in withdrawn + waiting.map(\.id) {
            if let settle = self.ledger.discard(id, .reject(requeue: true))?.settle { self.settle(settle) }
        }
    }

    /// Lets running jobs end as far as the kind of shutdown allows, which may change meanwhile, and cuts the others short.
    func finishRunningJobs() async {
        if self.phase == .draining {
            await self.untilJobsHaveEnded(during: .draining, limit: self.configuration.drainTimeout)
            if self.phase == .draining, !self.ledger.isEmpty { self.drainTimedOut() }
        }
        if self.phase == .softening {
            await self.untilJobsHaveEnded(during: .softening, limit: self.settings?.softShutdownTimeout ?? 0)
            if self.phase == .softening, !self.ledger.isEmpty { self.requestShutdown(.cold) }
        }
        if self.phase == .stopping { self.cancelRunningJobs() }
    }

    /// - Parameter limit: seconds; `nil` for as long as they need.
    private func untilJobsHaveEnded(during phase: Phase, limit: Double?) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                // Cancelled once the time is over.
                try? await self.wait { $0.ledger.isEmpty || $0.phase != phase }
            }
            if let limit {
                group.addTask { try? await Task.sleep(for: .seconds(limit)) }
            }
            await group.next()
            group.cancelAll()
        }
    }

    private func drainTimedOut() {
        self.logger.error(
            "running jobs have not ended in time (AGENT_DRAIN_SECONDS): they are ended and go back to the broker",
            metadata: [LogKeys.running: "\(self.ledger.jobs.count)"]
        )
        self.requestShutdown(.cold)
    }

    /// Cuts running jobs short. Those with a late acknowledgement go back to their queue when the channel closes; of others the broker knows
    /// no more, so their senders are told that they are to be tried again (`celery/worker/consumer/consumer.py`, `cancel_active_requests`).
    private func cancelRunningJobs() {
        for job in self.ledger.jobs.values { self.cancel(job, tellsRetry: !job.options.acksLate) }
    }

    /// How long a task that is cut short may take to clean up.
    private static let cancellationGrace = Duration.milliseconds(500)

    /// (`celery/worker/request.py`, `Request.cancel`)
    func cancel(_ job: Job, tellsRetry: Bool) {
        guard self.ledger.forget(job.id) != nil else { return }
        self.runningLimits.ended(job.id)
        self.statistics.ended(job.message.task, .retried)
        self.logger.warning("a running task is cut short", metadata: self.metadata(of: job.message))
        // With what it has started: a browser of its own process group.
        self.pool.assumeIsolated { _ = $0.terminate(job: job.id, grace: Self.cancellationGrace) }
        self.sendTaskEvent(.taskCancelled, of: job) { _ in }
        if tellsRetry { self.markRetry(job) }
    }

    /// How long `worker_process_shutdown` may take in user code.
    private static let workerShutdownLimit = Duration.seconds(30)

    /// Celery fires `worker_shutdown` once the workers have ended.
    private func fireShutdown() async {
        await self.pool.resize(to: 0)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await self.wait { worker in worker.pool.assumeIsolated { $0.workers.isEmpty } } }
            group.addTask { try? await Task.sleep(for: Self.workerShutdownLimit) }
            await group.next()
            group.cancelAll()
        }
        await self.fireAndWait("worker_shutdown")
    }

    /// How long the last writes to the result backend may delay the end.
    private static let writeLimit = Duration.seconds(10)

    /// Waits until Python has done what it was asked to: a task's failure must not be lost with the process that writes it down.
    private func untilPythonIsIdle() async {
        guard self.pythonCallCount > 0 else { return }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await self.wait { $0.pythonCallCount == 0 } }
            group.addTask { try? await Task.sleep(for: Self.writeLimit) }
            await group.next()
            group.cancelAll()
        }
        if self.pythonCallCount > 0 {
            self.logger.error(
                "the last writes to the result backend are given up",
                metadata: [LogKeys.running: "\(self.pythonCallCount)"]
            )
        }
    }

    func stopPool() async {
        await self.untilPythonIsIdle()
        if self.isStateUnsaved || self.project != nil { await self.saveState() }
        if self.phase < .stopping, self.listens(to: "worker_shutdown") { await self.fireShutdown() }
        // In a cold shutdown the workers have been told to end; what does not is killed.
        await self.pool.shutdown(deadline: self.phase == .stopping ? .milliseconds(500) : Self.workerShutdownLimit)
    }
}
