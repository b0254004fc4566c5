import AMQP
import Celery
import Glibc
import JSON
import NIOCore
import PythonPool

extension Worker {
    /// Seconds between two heartbeats, unless the project or the command line says otherwise.
    static let heartbeatInterval = 2.0

    /// How long an event of a task may wait for others to go out with: so many that share a message, and a write, cost little.
    private static let eventDelay = TimeAmount.milliseconds(10)

    /// An event of a task, sent with others of the same few milliseconds.
    func sendTaskEvent(_ type: EventType, of job: Job, fields: (inout EventFields) -> Void) {
        guard self.events.sends(.task), job.options.sendsEvents else { return }
        self.sendTaskEvent(type, uuid: job.message.id, fields: fields)
    }

    private func sendTaskEvent(_ type: EventType, uuid: String, fields: (inout EventFields) -> Void) {
        let full = self.events.task(type, clock: self.clock.forward(), timestamp: self.wallClock()) { event in
            event.add("uuid", uuid)
            fields(&event)
        }
        if let full {
            self.publish(full)
        } else if !self.isEventFlushScheduled {
            self.isEventFlushScheduled = true
            self.eventLoop.scheduleTask(in: Self.eventDelay) { self.assumeIsolated { $0.flushEvents() } }
        }
    }

    func sendReceived(_ id: Job.ID) {
        guard self.events.sends(.task), let job = self.ledger[id] else { return }
        let message = job.message
        self.sendTaskEvent(.taskReceived, of: job) { event in
            event.add("name", message.name)
            // Protocol 1 has none.
            event.add("args", message.form == .protocol1 ? nil : message.argsRepr)
            event.add("kwargs", message.form == .protocol1 ? nil : message.kwargsRepr)
            event.add("root_id", message.rootID)
            event.add("parent_id", message.parentID)
            event.add("retries", Int(message.retries))
            event.add("eta", message.shownETA)
            event.add("expires", message.shownExpires)
        }
    }

    /// The event for how a task ended (`celery/worker/request.py`).
    func sendEnded(_ conclusion: Ledger.Conclusion, outcome: PoolOutcome, runtime: Double) {
        let job = conclusion.job
        switch outcome {
        case .success(let result):
            self.sendTaskEvent(.taskSucceeded, of: job) { event in
                event.add("result", result)
                event.add("runtime", runtime)
            }
        case .failure(let failure, _):
            self.sendTaskEvent(.taskFailed, of: job) { event in
                event.add("exception", failure.representation)
                event.add("traceback", failure.traceback)
            }
        case .retry(let failure):
            self.sendTaskEvent(.taskRetried, of: job) { event in
                event.add("exception", failure.representation)
                event.add("traceback", failure.traceback)
            }
        case .reject, .ignore, .undecodable, .malformed: break
        }
    }

    /// A message has asked for a task that is not registered.
    func sendUnregistered(id: String, task: String) {
        guard self.events.sends(.task), !id.isEmpty else { return }
        self.sendTaskEvent(.taskFailed, uuid: id) { event in
            event.add("exception", "NotRegistered(\(PythonRepr.string(task)))")
        }
    }

    func flushEvents() {
        self.isEventFlushScheduled = false
        if let batch = self.events.flush() { self.publish(batch) }
    }

    /// An event of the worker itself, with what it is doing.
    func sendWorkerEvent(_ type: EventType) {
        guard self.events.sends(.worker), self.configuration.heartbeatInterval != nil else { return }
        var load = [0.0, 0.0, 0.0]
        getloadavg(&load, 3)
        self.publish(
            self.events.worker(type, clock: self.clock.forward(), timestamp: self.wallClock()) { event in
                event.add("freq", self.configuration.heartbeatInterval ?? Self.heartbeatInterval)
                let running = self.runningJobs().count
                event.add("active", running)
                // Celery counts a task when it begins.
                event.add("processed", self.statistics.processed + running)
                event.add("loadavg", .array(load.map { .double(($0 * 100).rounded() / 100) }))
                self.addSoftware(to: &event)
            }
        )
    }

    /// The heartbeat that remote control asks for (`celery/worker/control.py`, `heartbeat`).
    func sendBareHeartbeat() {
        self.publish(
            self.events.worker(.workerHeartbeat, clock: self.clock.forward(), timestamp: self.wallClock()) { event in
                event.add("freq", 5)
                self.addSoftware(to: &event)
            }
        )
    }

    /// Tools tell a Celery worker by these.
    private func addSoftware(to event: inout EventFields) {
        event.add("sw_ident", "py-celery")
        event.add("sw_ver", self.project?.manifest.celeryVersion ?? "")
        event.add("sw_sys", "Linux")
    }

    /// Reports on this worker at regular times, until it is cancelled.
    func runHeartbeat() async {
        guard let interval = self.configuration.heartbeatInterval else { return }
        guard (try? await self.wait(until: { $0.phase > .starting })) != nil else { return }
        while !Task.isCancelled {
            self.sendWorkerEvent(.workerHeartbeat)
            self.fire("heartbeat_sent")
            guard (try? await Task.sleep(for: .seconds(interval))) != nil else { return }
        }
    }

    func publish(_ batch: EventDispatcher.Batch) {
        var headers = FieldTable()
        headers.append("hostname", .string(self.nodeName))
        let message = Message(
            exchange: self.project?.eventExchange ?? "celeryev",
            routingKey: batch.routingKey,
            properties: BasicProperties(
                contentType: "application/json",
                contentEncoding: "utf-8",
                headers: headers,
                deliveryMode: 1,
                priority: 0
            ),
            body: batch.body
        )
        self.publisher.assumeIsolated { $0.publish(message) }
    }
}
