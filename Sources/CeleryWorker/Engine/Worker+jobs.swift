import AMQP
import Celery
import JSON
import Logging
import NIOCore
import PythonPool

extension Worker {
    /// Something has happened in the pool. Called on the event loop.
    public func poolEvent(_ event: PoolEvent) {
        switch event {
        case .started(let id, let pid):
            self.started(id, pid: pid)
        case .finished(let id, _, let outcome, let runtime, let waited):
            self.runningLimits.ended(id)
            self.statistics.waits.observe(waited)
            // What a task says past its hard limit, Celery doesn't hear.
            if let loss = self.takeOverdue(id) { return self.lost(id, loss) }
            self.beforeConclusion(of: id) { $0.finished(id, outcome: outcome, runtime: runtime) }
        case .lost(let id, let exit):
            self.runningLimits.ended(id)
            self.lost(id, self.takeOverdue(id) ?? .died(exit))
        case .output(let output):
            self.log(output)
        case .workerExited:
            if self.phase >= .draining { self.stateChanges.send() }
        case .workerReady:
            if self.phase <= .running { self.stateChanges.send() }
        case .idle, .mainExited:
            break
        }
    }

    private func started(_ id: Job.ID, pid: Int32) {
        if let settle = self.ledger.started(id, pid: pid, at: self.wallClock()) { self.settle(settle) }
        guard let job = self.ledger[id] else { return }
        self.sendTaskEvent(.taskStarted, of: job) { _ in }
        let limits = self.limits(of: job)
        guard !limits.isNone else { return }
        self.runningLimits.started(id, limits, now: Self.monotonicClock())
        self.armTimer()
    }

    private func finished(_ id: Job.ID, outcome: PoolOutcome, runtime: Double) {
        let ending = JobEnding(outcome)
        guard let conclusion = self.ledger.conclude(id, ending) ?? self.survivors.removeValue(forKey: id) else {
            return self.jobHasEnded()
        }
        self.storeWhatPythonCouldNot(outcome, of: conclusion.job)
        self.settle(conclusion)
        self.statistics.ended(conclusion.job.message.task, ending, runtime: runtime > 0 ? runtime : nil)
        self.sendEnded(conclusion, outcome: outcome, runtime: runtime)
        self.jobHasEnded()
    }

    /// The tracer stores what a task does; what keeps the tracer from running is stored, and told, here.
    private func storeWhatPythonCouldNot(_ outcome: PoolOutcome, of job: Job) {
        switch outcome {
        case .failure(let failure, stored: false):
            self.logger.error(
                "a task could not be run",
                metadata: self.metadata(of: job.message).merging([LogKeys.error: "\(failure.representation)"]) { $1 }
            )
            self.markFailure(job, type: failure.type, arguments: [.string(failure.representation)])
        case .undecodable(let reason): self.refused(job, .undecodable(reason))
        case .malformed(let reason): self.refused(job, .malformed(reason))
        default: break
        }
    }

    private func refused(_ job: Job, _ problem: MessageProblem) {
        self.statistics.refused += 1
        self.logger.log(level: problem.level, "\(problem)", metadata: self.metadata(of: job.message))
    }

    /// A job has cost its Python worker.
    private func lost(_ id: Job.ID, _ loss: JobLoss) {
        if let copy = self.copy(of: id, after: loss) {
            self.republish(copy, of: id, after: loss)
        } else {
            self.conclude(id, after: loss)
        }
    }

    func conclude(_ id: Job.ID, after loss: JobLoss) {
        switch loss {
        case .died(let exit): self.concludeLost(id, exit)
        case .hardLimit(let limit): self.concludeOverdue(id, limit)
        }
    }

    /// Settles a lost job as Celery does (`celery/worker/request.py`, `on_failure` with `WorkerLostError`).
    private func concludeLost(_ id: Job.ID, _ exit: WorkerExit) {
        self.survivors[id] = nil
        guard let conclusion = self.ledger.conclude(id, .workerLost) else { return self.jobHasEnded() }
        self.statistics.lost += 1
        self.settle(conclusion)
        var metadata = self.metadata(of: conclusion.job.message)
        metadata[LogKeys.reason] = "\(exit.exit)"
        metadata[LogKeys.settlement] = conclusion.isRequeued ? "back to its queue" : "failed"
        self.logger.error("a Python worker died while it ran a task", metadata: metadata)
        if !conclusion.isRequeued {
            self.statistics.ended(conclusion.job.message.task, .workerLost)
            self.failed(conclusion, after: .died(exit))
        }
        self.jobHasEnded()
    }

    func failed(_ conclusion: Ledger.Conclusion, after loss: JobLoss) {
        let error = loss.error(job: conclusion.job.id)
        self.failed(conclusion, type: error.type, arguments: error.arguments)
    }

    /// Tells of a failure that no Python worker could tell of (`celery/worker/request.py`, `on_failure`).
    func failed(_ conclusion: Ledger.Conclusion, type: String, arguments: [JSON]) {
        let job = conclusion.job
        let representation = "\(type)(\(arguments.map(PythonRepr.value).joined(separator: ", ")))"
        self.markFailure(job, type: type, arguments: arguments)
        self.sendTaskEvent(.taskFailed, of: job) { event in
            event.add("exception", representation)
            event.add("traceback", representation)
        }
        guard self.listens(to: "task_failure") else { return }
        var fields = self.description(of: job)
        fields["exception_type"] = .string(type)
        fields["exception_arguments"] = .array(arguments)
        self.fire("task_failure", fields)
    }

    func jobHasEnded() {
        if self.phase >= .draining { self.stateChanges.send() }
    }

    /// Tells the broker how a job's delivery is settled, and whoever listens to events if it is rejected.
    func settle(_ conclusion: Ledger.Conclusion) {
        if let settle = conclusion.settle { self.settle(settle) }
        if conclusion.isRejected {
            self.sendTaskEvent(.taskRejected, of: conclusion.job) { $0.add("requeue", conclusion.isRequeued) }
        }
    }

    /// Tells the broker, over the channel that the delivery came by.
    func settle(_ action: Ledger.SettleAction) {
        guard let channel = self.session?.tasks else { return }
        let isSent = channel.assumeIsolated { channel in
            switch action.settlement {
            case .acknowledge: channel.ack(action.token)
            case .reject(let requeue): channel.reject(action.token, requeue: requeue)
            }
        }
        if !isSent { self.statistics.staleSettlements += 1 }
    }

    private func log(_ output: PoolOutput) {
        var metadata: Logger.Metadata = [LogKeys.pid: "\(output.pid)"]
        if let id = output.job, let job = self.ledger[id] { metadata[LogKeys.taskID] = "\(job.message.id)" }
        let level: Logger.Level
        switch output.stream {
        case .standardOutput:
            metadata[LogKeys.stream] = "stdout"
            level = .info
        case .standardError:
            metadata[LogKeys.stream] = "stderr"
            level = .info
        case .log(let number):
            level = Logger.Level(python: number)
        }
        self.logger.log(level: level, "\(output.text)", metadata: metadata)
    }
}

extension Logger.Level {
    /// The levels of Python's `logging`: 10 debug, 20 info, 30 warning, 40 error, 50 critical.
    fileprivate init(python level: Int) {
        switch level {
        case ..<20: self = .debug
        case ..<30: self = .info
        case ..<40: self = .warning
        case ..<50: self = .error
        default: self = .critical
        }
    }
}

extension JobEnding {
    init(_ outcome: PoolOutcome) {
        switch outcome {
        case .success: self = .succeeded
        case .failure: self = .failed
        case .retry: self = .retried
        case .ignore: self = .ignored
        case .reject(let requeue, _): self = .rejected(requeue: requeue)
        case .undecodable: self = .undecodable
        case .malformed: self = .malformed
        }
    }
}
