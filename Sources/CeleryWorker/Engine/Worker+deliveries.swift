import AMQP
import Celery
import JSON
import Logging
import NIOCore
import PythonPool

extension Worker {
    /// A delivery has come from one of the task queues. Called on the event loop.
    func received(_ delivery: Delivery, from queue: String) {
        guard let registry = self.project?.registry, self.phase <= .running else { return }
        self.statistics.received += 1
        do throws(MessageProblem) {
            let reading = try TaskMessage.read(
                properties: delivery.properties,
                body: delivery.body,
                deliveryInfo: TaskMessage.DeliveryInfo(delivery, queue: queue),
                registry: registry
            )
            switch reading {
            case .task(let message, let options): self.accept(message, options: options, token: delivery.token)
            case .needsPython: self.decodeInPython(delivery, from: queue)
            }
        } catch {
            self.refuse(delivery, error)
        }
    }

    private func accept(_ message: TaskMessage, options: TaskOptions, token: DeliveryToken) {
        if self.configuration.logsEachTask {
            self.logger.info("task received", metadata: self.metadata(of: message))
        }
        switch self.ledger.receive(message, options: options, token: token) {
        case .submit(let id):
            guard !self.isDiscarded(id, message, at: .receipt) else { return }
            self.announce(id, message)
            self.dispatch(id, message)
        case .schedule(let id, let due):
            guard !self.isDiscarded(id, message, at: .receipt) else { return }
            self.announce(id, message)
            // A message must not hold on to the whole buffer that it was read into for as long as it waits.
            self.ledger.detach(id)
            self.setDeadline(id, due: due)
            self.updatePrefetch()
        case .adopted:
            self.logger.info(
                "a redelivered task is still running here: it goes on",
                metadata: self.metadata(of: message)
            )
        case .settleAgain(let token, let settlement):
            self.logger.info("a redelivered task has ended here: not run again", metadata: self.metadata(of: message))
            self.settle(Ledger.SettleAction(token: token, settlement: settlement))
        }
    }

    private func announce(_ id: Job.ID, _ message: TaskMessage) {
        if self.listens(to: "task_received") {
            self.fire("task_received", ["id": .string(message.id), "headers": JSON(message.headers)])
        }
        self.sendReceived(id)
    }

    /// A job is ready: it goes to the pool, unless its task's rate limit holds it back.
    func dispatch(_ id: Job.ID, _ message: TaskMessage) {
        if self.rates.isLimited(message.task) {
            self.hold(id, message)
        } else {
            self.submit(id)
        }
        self.autoscale()
    }

    /// Hands a job to the pool, unless it has expired or was revoked.
    func submit(_ id: Job.ID) {
        guard let job = self.ledger[id], !self.isDiscarded(id, job.message, at: .start) else { return }
        // It may yet expire while it waits for a Python worker.
        if let expires = job.message.expires { self.setDeadline(id, due: expires) }
        let request = job.message.marshalled(hostname: self.nodeName)
        var flags = PoolJob.Flags()
        if !job.options.acksLate || self.events.sends(.task) || !self.limits(of: job).isNone {
            flags.insert(.reportsStart)
        }
        if request.holdsExoticValues { flags.insert(.exoticValues) }
        if job.message.form == .protocol1 { flags.insert(.protocol1) }
        let poolJob = PoolJob(
            id: id,
            headers: request.headers,
            info: request.info,
            body: job.message.body,
            flags: flags
        )
        self.pool.assumeIsolated { $0.submit(poolJob) }
    }

    /// Celery's message for it is in `on_invalid_task`, `on_unknown_task`, `on_unknown_message` and `on_decode_error`
    /// (`celery/worker/consumer/consumer.py`).
    private func refuse(_ delivery: Delivery, _ problem: MessageProblem) {
        self.statistics.refused += 1
        self.logger.log(
            level: problem.level,
            "\(problem)",
            metadata: [
                LogKeys.settlement: problem.settlement == .acknowledge ? "acknowledged" : "rejected",
                LogKeys.exchange: "\(delivery.exchange)",
                LogKeys.routingKey: "\(delivery.routingKey)",
                LogKeys.size: "\(delivery.body.readableBytes)",
                LogKeys.taskID: "\(delivery.properties.headers?["id"]?.string ?? "")",
            ]
        )
        self.settle(
            Ledger.SettleAction(
                token: delivery.token,
                settlement: problem.settlement == .acknowledge ? .acknowledge : .reject(requeue: false)
            )
        )
        if case .unregistered(let task, let id) = problem {
            self.markUnregistered(delivery, id: id, task: task)
            self.sendUnregistered(id: id, task: task)
            self.fire("task_unknown", ["name": .string(task), "id": .string(id)])
        } else if problem.settlement == .reject {
            self.fire("task_rejected", ["exception_arguments": [.string("\(problem)")]])
        }
    }

    /// Only Python can read the body of this message of protocol 1; it does so in its own time.
    private func decodeInPython(_ delivery: Delivery, from queue: String) {
        self.background { worker in
            do {
                let payload = try await worker.decode(delivery)
                guard let project = worker.project else { return }
                let reading = try TaskMessage.readProtocol1(
                    payload: payload,
                    properties: delivery.properties,
                    body: delivery.body,
                    deliveryInfo: TaskMessage.DeliveryInfo(delivery, queue: queue),
                    registry: project.registry
                )
                guard case .task(let message, let options) = reading else { return }
                worker.accept(message, options: options, token: delivery.token)
            } catch let problem as MessageProblem {
                worker.refuse(delivery, problem)
            } catch {
                worker.refuse(delivery, .undecodable("\(error)"))
            }
        }
    }

    /// The time of jobs with an `eta`, or with `expires`, has come.
    func deadlinesDue() {
        let now = self.wallClock()
        var hasChanged = false
        while let id = self.deadlines.popDue(by: now) {
            if self.ledger.due(id), let job = self.ledger[id] {
                hasChanged = true
                self.dispatch(id, job.message)
            } else if let job = self.ledger[id], let expires = job.message.expires, expires < now,
                job.phase == .limited || self.pool.assumeIsolated({ $0.withdraw(id) })
            {
                self.discard(id, .expired)
            }
        }
        if hasChanged { self.updatePrefetch() }
    }

    func metadata(of message: TaskMessage) -> Logger.Metadata {
        [LogKeys.task: "\(message.name)", LogKeys.taskID: "\(message.id)"]
    }
}

extension MessageProblem {
    /// As Celery logs it.
    var level: Logger.Level {
        switch self {
        case .unknownMessage: .warning
        case .undecodable: .critical
        case .contentDisallowed, .invalid, .malformed, .unregistered: .error
        }
    }
}

extension TaskMessage.DeliveryInfo {
    init(_ delivery: Delivery, queue: String) {
        self.init(
            exchange: delivery.exchange,
            routingKey: delivery.routingKey,
            priority: delivery.properties.priority,
            redelivered: delivery.redelivered,
            queue: queue
        )
    }
}
