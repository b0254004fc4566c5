import AMQP
import Celery
import Glibc
import JSON
import Logging
import NIOCore
import PythonPool

/// How a remote-control request is answered.
enum ControlAnswer {
    case reply(JSON)
    /// Celery doesn't answer this one.
    case silence
    /// The Python main process knows the command, or says that nobody does.
    case askPython
}

extension Worker {
    /// Answers the commands of `celery/worker/control.py`, by name and alias.
    func answer(_ request: ControlRequest) -> ControlAnswer {
        if let unnamed = request.unnamedMethod { return .error("KeyError(\(unnamed))") }
        if let problem = ControlSignature.problem(request.method, request.arguments) { return .error(problem) }
        return switch request.method {
        case "ping": .reply(["ok": "pong"])
        case "clock": .reply(["clock": .int(self.clock.value)])
        case "hello": self.hello(request.arguments)
        case "active", "dump_active": .reply(.array(self.activeJobs(isSafe: request.arguments["safe"]?.bool ?? false)))
        case "reserved", "dump_reserved": .reply(.array(self.reservedJobs()))
        case "scheduled", "dump_schedule": .reply(.array(self.scheduledJobs()))
        case "active_queues": .reply(.array(self.project?.queues.map(\.manifest) ?? []))
        case "registered", "dump_tasks": .reply(.array(self.registeredTasks(request.arguments)))
        case "stats": .reply(self.stats())
        case "query_task": .reply(self.queryTasks(request.arguments))
        case "enable_events": .reply(self.enableEvents())
        case "disable_events": .reply(self.disableEvents())
        case "revoked", "dump_revoked": .reply(.array(self.revokedTasks.ids.map(JSON.string)))
        case "revoke": self.revoke(request.arguments)
        case "terminate": self.revoke(request.arguments, command: "terminate")
        case "revoke_by_stamped_headers": self.revokeByStamps(request.arguments)
        case "rate_limit": self.changeRateLimit(request.arguments)
        case "time_limit": self.changeTimeLimit(request.arguments)
        case "pool_grow", "pool_shrink": self.changePool(request.method, request.arguments)
        case "pool_restart": self.restartPool(request.arguments)
        case "autoscale": self.changeAutoscale(request.arguments)
        case "add_consumer": self.addConsumer(request.arguments)
        case "cancel_consumer": self.cancelConsumer(request.arguments)
        case "election": self.hold(request.arguments)
        case "heartbeat": self.heartbeat()
        case "shutdown": self.shutDown(request.arguments)
        default: .askPython
        }
    }

    /// A neighbour introduces itself (`hello`): it is told our clock, and which tasks are revoked.
    private func hello(_ arguments: JSONObject) -> ControlAnswer {
        guard let node = arguments["from_node"]?.string, node != self.nodeName else { return .reply(.null) }
        if let hello = FleetHello(arguments) {
            let isAnswered = hello.isAnswered(
                by: self.configuration.fleet,
                knowsRevoked: self.revokedTasks.count > 0,
                chance: Double.random(in: 0..<1)
            )
            guard isAnswered else { return .silence }
        }
        self.logger.info("sync with a neighbour", metadata: [LogKeys.node: "\(node)"])
        self.learnRevoked(arguments["revoked"])
        return .reply(["revoked": self.revokedForNeighbours, "clock": .int(self.clock.forward())])
    }

    /// As Celery 5.6 tells its neighbours.
    var revokedForNeighbours: JSON {
        .object(JSONObject(self.revokedTasks.entries.map { ($0.id, [.double($0.time), .string($0.id)]) }))
    }

    /// Takes over what a neighbour has revoked: a dictionary by id up to Celery 5.6, a list of ids since. Its times are of another machine's clock.
    func learnRevoked(_ revoked: JSON?) {
        let ids = revoked?.object?.map(\.key) ?? revoked?.array?.compactMap(\.string) ?? []
        guard !ids.isEmpty else { return }
        self.revokedTasks.merge(ids, now: Self.monotonicClock())
        self.stateHasChanged()
    }

    /// Celery's answer to it says nothing of what the worker does.
    private func heartbeat() -> ControlAnswer {
        self.sendBareHeartbeat()
        return .reply(.null)
    }

    /// With `-E` Celery's dispatcher has no groups to change, and says that nothing is to be done.
    private func enableEvents() -> JSON {
        guard self.events.enable(.task) else { return ["ok": "task events already enabled"] }
        self.logger.info("task events enabled by remote control")
        return ["ok": "task events enabled"]
    }

    private func disableEvents() -> JSON {
        guard self.settings?.sendsTaskEvents == false, self.events.disable(.task) else {
            return ["ok": "task events already disabled"]
        }
        self.logger.info("task events disabled by remote control")
        return ["ok": "task events disabled"]
    }

    private func shutDown(_ arguments: JSONObject) -> ControlAnswer {
        self.logger.warning(
            "got shutdown from remote",
            metadata: [LogKeys.reason: "\(arguments["msg"]?.string ?? "Got shutdown from remote")"]
        )
        self.requestShutdown(.warm)
        return .silence
    }

    private func activeJobs(isSafe: Bool) -> [JSON] {
        self.runningJobs().map { self.info($0.job, isSafe: isSafe, status: $0.status) }
    }

    private func reservedJobs() -> [JSON] {
        let running = Set(self.runningJobs().map(\.job.id))
        return self.ledger.jobs.values
            .filter { $0.phase == .reserved && !running.contains($0.id) }
            .sorted { $0.id < $1.id }
            .map { self.info($0, isSafe: false, status: nil) }
    }

    private func scheduledJobs() -> [JSON] {
        let jobs = self.ledger.jobs.values.compactMap { job -> (Job, EpochSeconds)? in
            guard case .scheduled(let due) = job.phase else { return nil }
            return (job, due)
        }
        return jobs.sorted { $0.1 < $1.1 }.map { job, due in
            [
                "eta": .string(ISO8601.format(due)),
                "priority": 6,
                "request": self.info(job, isSafe: false, status: nil),
            ]
        }
    }

    func runningJobs() -> [(job: Job, status: WorkerStatus)] {
        self.pool.assumeIsolated { $0.workers }.compactMap { status in
            guard let id = status.currentJob, let job = self.ledger[id] else { return nil }
            return (job, status)
        }
    }

    /// (`celery/worker/request.py`, `Request.info`)
    private func info(_ job: Job, isSafe: Bool, status: WorkerStatus?) -> JSON {
        let message = job.message
        let (args, kwargs) =
            isSafe ? (.string(message.argsRepr), .string(message.kwargsRepr)) : message.decodedArguments
        return [
            "id": .string(message.id),
            "name": .string(message.name),
            "args": args,
            "kwargs": kwargs,
            "type": .string(message.task),
            "hostname": .string(self.nodeName),
            "time_start": JSON(status.map { self.wallTime(monotonic: $0.startedAt) }),
            "acknowledged": .bool(job.isSettled),
            "delivery_info": message.deliveryInfo.shown,
            "worker_pid": JSON((status?.pid).map(Int.init)),
        ]
    }

    /// Seconds since 1970 for a time of the monotonic clock, in nanoseconds.
    private func wallTime(monotonic nanoseconds: UInt64) -> EpochSeconds {
        self.wallClock() - Double(NIODeadline.now().uptimeNanoseconds &- nanoseconds) / 1e9
    }

    private func queryTasks(_ arguments: JSONObject) -> JSON {
        let ids: [String] =
            switch arguments["ids"] {
            case .array(let ids)?: ids.compactMap(\.string)
            case .string(let id)?: [id]
            default: []
            }
        let running = Dictionary(
            self.runningJobs().map { ($0.job.message.id, $0.status) },
            uniquingKeysWith: { first, _ in first }
        )
        var reply = JSONObject()
        for id in ids {
            // Celery tells of waiting tasks since 5.7.
            guard let job = self.ledger.job(taskID: id), !job.isWaiting || project?.isAtLeast(5, 7) == true else {
                continue
            }
            let status = running[id]
            let state = job.isWaiting ? "scheduled" : status == nil ? "reserved" : "active"
            reply[id] = [.string(state), self.info(job, isSafe: false, status: status)]
        }
        return .object(reply)
    }

    private func registeredTasks(_ arguments: JSONObject) -> [JSON] {
        guard let project else { return [] }
        let items = arguments["taskinfoitems"]?.array?.compactMap(\.string) ?? []
        let shown = items.isEmpty ? ["exchange", "routing_key", "rate_limit"] : items
        let withBuiltIns = arguments["builtins"]?.bool ?? false
        return project.registry.tasks
            .filter { withBuiltIns || !$0.key.hasPrefix("celery.") }
            .sorted { $0.key < $1.key }
            .map { name, options in
                let fields = shown.compactMap { item in options.shown(item).map { "\(item)=\($0)" } }
                return .string(fields.isEmpty ? name : "\(name) [\(fields.joined(separator: " "))]")
            }
    }
}

extension TaskOptions {
    /// An attribute as `inspect registered` shows it: Python's `str` of it.
    fileprivate func shown(_ attribute: String) -> String? {
        switch attribute {
        case "exchange": self.exchange
        case "routing_key": self.routingKey
        case "rate_limit": self.rateLimit
        case "acks_late": self.acksLate ? "True" : "False"
        case "ignore_result": self.ignoreResult ? "True" : "False"
        case "time_limit": self.hardTimeLimit.map(Self.number)
        case "soft_time_limit": self.softTimeLimit.map(Self.number)
        default: nil
        }
    }

    private static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : value.description
    }
}

extension TaskMessage.DeliveryInfo {
    /// As a task's request has it (`celery/worker/request.py`, `delivery_info`).
    var shown: JSON {
        [
            "exchange": .string(self.exchange),
            "routing_key": .string(self.routingKey),
            "priority": JSON(self.priority.map(Int.init)),
            "redelivered": .bool(self.redelivered),
        ]
    }
}

extension TaskMessage {
    /// The arguments as far as they can be read here, else as the sender has described them.
    fileprivate var decodedArguments: (JSON, JSON) {
        guard self.contentType == "application/json", self.headers["compression"] == nil,
            let body = try? JSON(parsing: self.body)
        else { return (.string(self.argsRepr), .string(self.kwargsRepr)) }
        switch self.form {
        case .protocol2:
            guard let parts = body.array, parts.count == 3 else { return (.null, .null) }
            return (parts[0], parts[1])
        case .protocol1:
            return (body["args"] ?? [], body["kwargs"] ?? [:])
        }
    }
}
