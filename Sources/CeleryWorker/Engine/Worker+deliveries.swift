import AMQP
import Celery
import JSON
import Logging
import NIOCore
import PythonPool

extension Worker {
    /// A delivery has come from one of the task queues. Called on the event loop.
    func received(_ delivery: Delivery) {
        guard let project, self.phase <= .running else { return }
        do throws(MessageProblem) {
            let reading = try TaskMessage.read(
                properties: delivery.properties,
                body: delivery.body,
                deliveryInfo: TaskMessage.DeliveryInfo(delivery),
                registry: project.registry
            )
            switch reading {
            case .task(let message, let options): self.accept(message, options: options, token: delivery.token)
            case .needsPython: self.decodeInPython(delivery)
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
            self.fireReceived(message)
            self.sendReceived(id)
            self.submit(id)
        case .schedule(let id, let due):
            self.fireReceived(message)
            self.sendReceived(id)
            self.deadlines.insert(id, due: due)
            self.armDeadlineTimer()
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

    private func fireReceived(_ message: TaskMessage) {
        guard self.project?.manifest.signalReceivers.contains("task_received") == true else { return }
        self.fire("task_received", ["id": .string(message.id), "headers": JSON(message.headers)])
    }

    /// Hands a job to the pool, unless it has expired.
    func submit(_ id: Job.ID) {
        guard let job = self.ledger[id] else { return }
        if let expires = job.message.expires {
            guard self.wallClock() <= expires else { return self.expire(id) }
            // It may yet expire while it waits for a Python worker.
            self.deadlines.insert(id, due: expires)
            self.armDeadlineTimer()
        }
        let request = job.message.marshalled(hostname: self.nodeName)
        var flags = PoolJob.Flags()
        if !job.options.acksLate || self.events.sends(.task) { flags.insert(.reportsStart) }
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
        self.logger.error(
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
            self.fire("task_unknown", ["name": .string(task), "id": .string(id)])
        } else if problem.settlement == .reject {
            self.fire("task_rejected", ["exception": .string("\(problem)")])
        }
    }

    /// Only Python can read the body of this message of protocol 1; it does so in its own time.
    private func decodeInPython(_ delivery: Delivery) {
        self.background { worker in
            do {
                let payload = try await worker.decode(delivery)
                guard let project = worker.project else { return }
                let reading = try TaskMessage.readProtocol1(
                    payload: payload,
                    properties: delivery.properties,
                    body: delivery.body,
                    deliveryInfo: TaskMessage.DeliveryInfo(delivery),
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
        self.deadlineTimer = nil
        let now = self.wallClock()
        var hasChanged = false
        while let id = self.deadlines.popDue(by: now) {
            if self.ledger.due(id) {
                hasChanged = true
                self.submit(id)
            } else if let job = self.ledger[id], let expires = job.message.expires, expires < now,
                self.pool.assumeIsolated({ $0.withdraw(id) })
            {
                self.expire(id)
            }
        }
        if hasChanged { self.updatePrefetch() }
        self.armDeadlineTimer()
    }

    private func expire(_ id: Job.ID) {
        guard let conclusion = self.ledger.discard(id, .acknowledge) else { return }
        let message = conclusion.job.message
        self.logger.info("discarding expired task", metadata: self.metadata(of: message))
        if let settle = conclusion.settle { self.settle(settle) }
        self.sendTaskEvent(.taskRevoked, of: conclusion.job) { event in
            event.add("terminated", false)
            event.add("signum", nil as Int?)
            event.add("expired", true)
        }
        self.markRevoked(conclusion.job, reason: "expired")
        var fields = self.description(of: conclusion.job)
        fields["terminated"] = false
        fields["expired"] = true
        self.fire("task_revoked", fields)
    }

    /// Keeps one timer, for the soonest deadline.
    func armDeadlineTimer() {
        guard let due = self.deadlines.next else { return }
        if let timer = self.deadlineTimer {
            guard due < timer.due else { return }
            timer.callback.cancel()
        }
        let delay = TimeAmount.nanoseconds(Int64(max(0, min(due - self.wallClock(), 3600)) * 1_000_000_000))
        let handler = DeadlineHandler(worker: self)
        do {
            self.deadlineTimer = (due, try self.eventLoop.scheduleCallback(in: delay, handler: handler))
        } catch {
            // The event loop is shutting down, and with it this worker.
            self.logger.debug("no timer can be set", metadata: [LogKeys.error: "\(error)"])
        }
    }

    func metadata(of message: TaskMessage) -> Logger.Metadata {
        [LogKeys.task: "\(message.name)", LogKeys.taskID: "\(message.id)"]
    }
}

/// Wakes the worker for its soonest deadline.
private struct DeadlineHandler: NIOScheduledCallbackHandler {
    let worker: Worker

    func handleScheduledCallback(eventLoop: some EventLoop) {
        self.worker.assumeIsolated { $0.deadlinesDue() }
    }
}

extension TaskMessage.DeliveryInfo {
    init(_ delivery: Delivery) {
        self.init(
            exchange: delivery.exchange,
            routingKey: delivery.routingKey,
            priority: delivery.properties.priority,
            redelivered: delivery.redelivered
        )
    }
}
