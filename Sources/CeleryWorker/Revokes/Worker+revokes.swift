import AMQP
import Celery
import Glibc
import JSON
import Logging
import PythonPool

/// Why a job that has not started is given up.
enum DiscardReason: Equatable {
    case expired
    case revoked
    case revokedByStamp(header: String, value: JSON)

    /// As the result backend is told.
    var text: String { self == .expired ? "expired" : "revoked" }
}

/// When it is looked whether a job is to be discarded.
enum DiscardStage {
    /// Celery looks at stamps only before the pool.
    case receipt
    case start
}

extension RevokedTasks.Bounds {
    /// Those of the process's environment.
    static var environment: Self {
        var bounds = Self()
        if let text = getenv("CELERY_WORKER_REVOKES_MAX"), let count = Int(String(cString: text)) {
            bounds.count = count
        }
        if let text = getenv("CELERY_WORKER_REVOKE_EXPIRES"), let age = Double(String(cString: text)) {
            bounds.age = age
        }
        return bounds
    }
}

extension Worker {
    /// Gives a job up if it has expired or was revoked. Returns whether it did.
    func isDiscarded(_ id: Job.ID, _ message: TaskMessage, at stage: DiscardStage) -> Bool {
        guard let reason = self.discardReason(message, at: stage) else { return false }
        self.discard(id, reason)
        return true
    }

    private func discardReason(_ message: TaskMessage, at stage: DiscardStage) -> DiscardReason? {
        if let expires = message.expires, self.wallClock() > expires { return .expired }
        if self.revokedTasks.contains(message.id) { return .revoked }
        if stage == .start, let stamp = self.revokedStamps.match(message) {
            return .revokedByStamp(header: stamp.header, value: stamp.value)
        }
        return nil
    }

    /// (`celery/worker/request.py`, `Request.revoked` and `_announce_revoked`)
    func discard(_ id: Job.ID, _ reason: DiscardReason) {
        guard let conclusion = self.ledger.discard(id, .acknowledge) else { return }
        let job = conclusion.job
        if reason == .expired { self.revokedTasks.insert(job.message.id, now: Self.monotonicClock()) }
        var metadata = self.metadata(of: job.message)
        metadata[LogKeys.reason] = "\(reason.text)"
        if case .revokedByStamp(let header, let value) = reason {
            metadata[LogKeys.stamp] = "\(header)=\(value.string ?? PythonRepr.value(value))"
        }
        self.logger.info("discarding revoked task", metadata: metadata)
        self.announceRevoked(conclusion, reason: reason.text, signal: nil, isExpired: reason == .expired)
        self.jobHasEnded()
    }

    /// - Parameter signal: that ended it; `nil` if it had not started.
    func announceRevoked(_ conclusion: Ledger.Conclusion, reason: String, signal: Int32?, isExpired: Bool) {
        if let settle = conclusion.settle { self.settle(settle) }
        let job = conclusion.job
        self.statistics.revoked(job.message.task, whileItRan: signal != nil)
        self.sendTaskEvent(.taskRevoked, of: job) { event in
            event.add("terminated", signal != nil)
            event.add("signum", signal.map(Int.init))
            event.add("expired", isExpired)
        }
        self.markRevoked(job, reason: reason)
        guard self.listens(to: "task_revoked") else { return }
        var fields = self.description(of: job)
        fields["terminated"] = .bool(signal != nil)
        fields["signum"] = JSON(signal.map(Int.init))
        fields["expired"] = .bool(isExpired)
        self.fire("task_revoked", fields)
    }

    /// Flags tasks as revoked; those that wait here are given up at once, and with `signal` those that run are ended.
    /// - Returns: the ids, of those asked for, of tasks that are here.
    func revoke(_ ids: [String], signal: Int32?) -> [String] {
        let now = Self.monotonicClock()
        for id in ids { self.revokedTasks.insert(id, now: now) }
        self.stateHasChanged()
        let wanted = Set(ids)
        // A task's id need not be unique, so the whole book is looked through, but only once.
        let jobs = self.ledger.jobs.values.filter { wanted.contains($0.message.id) }
        for job in jobs { self.revoke(job, .revoked, signal: signal) }
        self.updatePrefetch()
        let found = Set(jobs.filter { !$0.isWaiting }.map(\.message.id))
        return ids.filter(found.contains)
    }

    /// Revokes by stamps.
    /// - Returns: the stamps of the running tasks that were ended.
    func revoke(stamps headers: JSONObject, signal: Int32?) -> [(header: String, value: JSON)] {
        self.revokedStamps.insert(headers)
        let wanted = Dictionary(
            headers.map { ($0.key, $0.value.array ?? [$0.value]) },
            uniquingKeysWith: { _, last in last }
        )
        var ended: [(String, JSON)] = []
        for job in self.ledger.jobs.values {
            guard let stamp = RevokedStamps.match(wanted, job.message) else { continue }
            let reason = DiscardReason.revokedByStamp(header: stamp.header, value: stamp.value)
            if self.revoke(job, reason, signal: signal) { ended.append(stamp) }
        }
        self.updatePrefetch()
        return ended
    }

    /// - Returns: whether it was running and has been ended.
    @discardableResult
    private func revoke(_ job: Job, _ reason: DiscardReason, signal: Int32?) -> Bool {
        switch job.phase {
        case .scheduled, .limited:
            self.discard(job.id, reason)
            return false
        case .reserved, .running:
            if self.pool.assumeIsolated({ $0.withdraw(job.id) }) {
                self.discard(job.id, reason)
                return false
            }
            guard let signal else { return false }
            return self.terminate(job.id, signal: signal)
        }
    }

    /// How long a revoked task may take to clean up; a task that takes longer, or takes no notice, is killed.
    private static let terminationGrace = Duration.seconds(10)

    private static let deadlySignals: Set<Int32> = [SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGKILL, SIGTERM]

    /// Ends a running job as revoked (`celery/worker/request.py`, `Request.terminate`).
    private func terminate(_ id: Job.ID, signal: Int32) -> Bool {
        guard let conclusion = self.ledger.conclude(id, .revoked) else { return false }
        self.runningLimits.ended(id)
        var metadata = self.metadata(of: conclusion.job.message)
        metadata[LogKeys.signal] = "\(signal)"
        self.logger.info("terminating a revoked task", metadata: metadata)
        if !Self.deadlySignals.contains(signal) {
            var settled = conclusion
            settled.settle = nil
            self.survivors[id] = settled
        }
        self.pool.assumeIsolated { pool in
            if Self.deadlySignals.contains(signal) {
                _ = pool.terminate(job: id, signal: signal, grace: Self.terminationGrace)
            } else {
                _ = pool.kill(job: id, signal: signal)
            }
        }
        self.announceRevoked(conclusion, reason: "terminated", signal: signal, isExpired: false)
        self.jobHasEnded()
        return true
    }
}
