import AMQP
import Celery
import Logging
import PythonPool

extension Worker {
    /// What is to take the place of the message whose Python worker has died; `nil` where Celery's own rules are enough: no limit is set, or the
    /// message does not come back.
    func copyOfLost(_ id: Job.ID, _ exit: WorkerExit) -> AttemptLimit.Copy? {
        // A worker that was to end says nothing of its message.
        guard let maximum = self.configuration.maximumDeliveries, !exit.expected, self.phase < .stopping,
            let job = self.ledger[id], job.options.rejectOnWorkerLost, case .open = job.delivery
        else { return nil }
        return AttemptLimit(maximum: maximum).copy(
            of: job.message,
            reason: "\(exit.exit)",
            node: self.nodeName,
            time: self.wallClock()
        )
    }

    /// Publishes a copy of a message, and acknowledges the message once the broker has the copy. Until then the job stays in the ledger: a shutdown
    /// waits for it, and should the connection be lost meanwhile, the redelivery is acknowledged.
    func republish(_ copy: AttemptLimit.Copy, of id: Job.ID, _ exit: WorkerExit) {
        guard let delivery = self.deliveryToOwnBroker else { return self.concludeLost(id, exit) }
        self.background { worker in
            do {
                try await delivery.deliver(copy.message, declaring: copy.queue)
                worker.republished(copy, of: id, exit)
            } catch {
                // Better run once more than lost.
                worker.logger.error(
                    "a message that has lost its Python worker can't be counted: it goes back to its queue as it is",
                    metadata: [LogKeys.queue: "\(copy.message.routingKey)", LogKeys.error: "\(error)"]
                )
                worker.concludeLost(id, exit)
            }
        }
    }

    /// To the broker, of those that may be configured, whose messages are being consumed.
    private var deliveryToOwnBroker: ConfirmedDelivery? {
        guard let endpoint = self.session?.connection.configuration.endpoint,
            let broker = self.settings?.broker.connections(purpose: "attempts").first(where: { $0.endpoint == endpoint }
            )
        else { return nil }
        return ConfirmedDelivery(broker: broker, eventLoop: self.eventLoop, logger: self.logger)
    }

    private func republished(_ copy: AttemptLimit.Copy, of id: Job.ID, _ exit: WorkerExit) {
        guard let conclusion = self.ledger.conclude(id, .republished) else { return self.jobHasEnded() }
        self.statistics.lost += 1
        if let settle = conclusion.settle { self.settle(settle) }
        var metadata = self.metadata(of: conclusion.job.message)
        metadata[LogKeys.reason] = "\(exit.exit)"
        metadata[LogKeys.queue] = "\(copy.message.routingKey)"
        metadata[LogKeys.attempt] = "\(copy.message.properties.headers?[AttemptLimit.header]?.int ?? 0)"
        switch copy {
        case .again:
            self.logger.error("a Python worker died while it ran a task: it is run again", metadata: metadata)
            self.sendTaskEvent(.taskRejected, of: conclusion.job) { $0.add("requeue", true) }
        case .aside:
            self.logger.error(
                "a Python worker died while it ran a task, the last of its attempts (AGENT_MAX_DELIVERIES): its message is set aside",
                metadata: metadata
            )
            self.statistics.ended(conclusion.job.message.task, .workerLost)
            self.failed(conclusion, lostBy: exit)
        }
        self.jobHasEnded()
    }
}
