import AMQP
import Celery
import Logging
import PythonPool

extension Worker {
    /// What is to take the place of a message that has cost its Python worker; `nil` where Celery's own rules are enough: no limit is set, or the
    /// message does not come back.
    func copy(of id: Job.ID, after loss: JobLoss) -> AttemptLimit.Copy? {
        guard let maximum = self.configuration.maximumDeliveries, self.phase < .stopping,
            let job = self.ledger[id], loss.isAttempt(under: job.options), case .open = job.delivery
        else { return nil }
        return AttemptLimit(maximum: maximum).copy(
            of: job.message,
            reason: loss.reason,
            node: self.nodeName,
            time: self.wallClock()
        )
    }

    /// Publishes a copy of a message, and acknowledges the message once the broker has the copy. Until then the job stays in the ledger: a shutdown
    /// waits for it, and should the connection be lost meanwhile, the redelivery is acknowledged.
    func republish(_ copy: AttemptLimit.Copy, of id: Job.ID, after loss: JobLoss) {
        guard let delivery = self.deliveryToOwnBroker else { return self.conclude(id, after: loss) }
        self.background { worker in
            do {
                try await delivery.deliver(copy.message, declaring: copy.queue)
                worker.republished(copy, of: id, after: loss)
            } catch {
                // Better run once more than lost.
                worker.logger.error(
                    "a message that has cost its Python worker can't be counted: it goes back to its queue as it is",
                    metadata: [LogKeys.queue: "\(copy.message.routingKey)", LogKeys.error: "\(error)"]
                )
                worker.conclude(id, after: loss)
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

    private func republished(_ copy: AttemptLimit.Copy, of id: Job.ID, after loss: JobLoss) {
        guard let conclusion = self.ledger.conclude(id, .republished) else { return self.jobHasEnded() }
        if case .died = loss { self.statistics.lost += 1 }
        if let settle = conclusion.settle { self.settle(settle) }
        var metadata = self.metadata(of: conclusion.job.message)
        metadata[LogKeys.reason] = "\(loss.reason)"
        metadata[LogKeys.queue] = "\(copy.message.routingKey)"
        metadata[LogKeys.attempt] = "\(copy.message.properties.headers?[AttemptLimit.header]?.int ?? 0)"
        switch copy {
        case .again:
            self.logger.error("a task has cost its Python worker: it is run again", metadata: metadata)
            self.sendTaskEvent(.taskRejected, of: conclusion.job) { $0.add("requeue", true) }
            if case .hardLimit(let limit) = loss {
                self.statistics.ended(conclusion.job.message.task, .timedOut)
                self.markOverdue(conclusion.job, limit)
            }
        case .aside:
            self.logger.error(
                "a task has cost its Python worker, the last of its attempts (AGENT_MAX_DELIVERIES): its message is set aside",
                metadata: metadata
            )
            self.statistics.setAside += 1
            self.statistics.ended(conclusion.job.message.task, loss.ending)
            self.failed(conclusion, after: loss)
        }
        self.jobHasEnded()
    }
}
