import AMQP
import Celery
import JSON
import Logging
import PythonPool

/// The commands that change what the worker does (`celery/worker/control.py`).
extension Worker {
    // MARK: Revoking

    func revoke(_ arguments: JSONObject, command: String = "revoke") -> ControlAnswer {
        let value = arguments["task_id"] ?? .null
        let ids = Set((value.array ?? (value.isNull ? [] : [value])).map { $0.string ?? PythonRepr.value($0) })
        let endsTasks = command == "terminate" || arguments["terminate"]?.isTruthy == true
        let signal: Int32
        do throws(SignalNameError) {
            signal = try SignalName.number(arguments["signal"])
        } catch {
            return .error(error.representation)
        }
        // Before what becomes of the tasks themselves is written down, which tells more.
        if !ids.isEmpty {
            self.callPython("backend.revoke", ["ids": .array(ids.map(JSON.string)), "reason": "revoked"])
        }
        let found = self.revoke(Array(ids), signal: endsTasks ? signal : nil)
        self.logger.info(
            endsTasks ? "terminating tasks" : "tasks flagged as revoked",
            metadata: [LogKeys.taskID: "\(ids.joined(separator: ", "))"]
        )
        guard endsTasks else { return .ok("tasks \(PythonRepr.set(ids)) flagged as revoked") }
        return .ok(found.isEmpty ? "terminate: tasks unknown" : "terminate: \(found.joined(separator: ", "))")
    }

    func revokeByStamps(_ arguments: JSONObject) -> ControlAnswer {
        var headers = JSONObject()
        switch arguments["headers"] {
        case .object(let object)?: headers = object
        case .array(let pairs)?:
            for pair in pairs {
                let parts = (pair.string ?? "").split(separator: "=", omittingEmptySubsequences: false)
                guard parts.count > 1 else { return .error("IndexError('list index out of range')") }
                headers[String(parts[0])] = .string(String(parts[1]))
            }
        case let other: return .error("AttributeError(\"\((other ?? .null).kind) has no headers\")")
        }
        let shown = PythonRepr.value(.object(headers))
        let endsTasks = arguments["terminate"]?.isTruthy == true
        do throws(SignalNameError) {
            let signal = try SignalName.number(arguments["signal"])
            let ended = self.revoke(stamps: headers, signal: endsTasks ? signal : nil)
            guard endsTasks else { return .ok("headers \(shown) flagged as revoked, but not terminated") }
            guard !ended.isEmpty else { return .ok("headers \(shown) were not terminated") }
            let stamps = Dictionary(grouping: ended, by: \.header).sorted { $0.key < $1.key }.map { header, stamps in
                "\(PythonRepr.string(header)): {\(Set(stamps.map { PythonRepr.value($0.value) }).sorted().joined(separator: ", "))}"
            }
            return .ok("headers defaultdict(<class 'set'>, {\(stamps.joined(separator: ", "))}) revoked")
        } catch {
            return .error(error.representation)
        }
    }

    // MARK: Limits

    func changeRateLimit(_ arguments: JSONObject) -> ControlAnswer {
        let task = arguments["task_name"]?.string ?? ""
        let value = arguments["rate_limit"] ?? .null
        let text = value.rateLimit
        let limit: RateLimit?
        do throws(RateLimitError) {
            limit = try RateLimit(text)
            guard self.project?.registry.tasks[task] != nil else { return self.unknownTask(task) }
            try self.changeRate(of: task, to: text)
        } catch {
            guard !error.isNumber else {
                return .error("KeyError(\(PythonRepr.string(String(error.text.split(separator: "/").last ?? ""))))")
            }
            let number = error.text.split(separator: "/", omittingEmptySubsequences: false).first.map(String.init) ?? ""
            let problem = "could not convert string to float: \(PythonRepr.string(number))"
            return .error("Invalid rate limit string: ValueError(\(PythonRepr.string(problem)))")
        }
        self.logger.info(
            limit == nil ? "rate limit disabled" : "new rate limit",
            metadata: [LogKeys.task: "\(task)", LogKeys.limit: "\(text ?? "")"]
        )
        return .ok(value.isTruthy ? "new rate limit set successfully" : "rate limit disabled successfully")
    }

    func changeTimeLimit(_ arguments: JSONObject) -> ControlAnswer {
        let task = arguments["task_name"]?.string ?? ""
        guard self.project?.registry.tasks[task] != nil else { return self.unknownTask(task) }
        let limits = TimeLimits(hard: arguments["hard"]?.double, soft: arguments["soft"]?.double)
        self.project?.registry.tasks[task]?.hardTimeLimit = limits.hard
        self.project?.registry.tasks[task]?.softTimeLimit = limits.soft
        self.logger.info(
            "new time limits",
            metadata: [
                LogKeys.task: "\(task)",
                LogKeys.limit:
                    "soft \(limits.soft.map { "\($0)" } ?? "none"), hard \(limits.hard.map { "\($0)" } ?? "none")",
            ]
        )
        return .ok("time limits set successfully")
    }

    private func unknownTask(_ task: String) -> ControlAnswer {
        self.logger.error("a limit was to be set for an unknown task", metadata: [LogKeys.task: "\(task)"])
        return .error("unknown task")
    }

    // MARK: The pool

    func changePool(_ command: String, _ arguments: JSONObject) -> ControlAnswer {
        guard self.autoscaler == nil else {
            return .error("\(command) is not supported with autoscale. Adjust autoscale range instead.")
        }
        if let value = arguments["n"], value.int == nil {
            return .error("TypeError(\"'\(value.pythonType)' object cannot be interpreted as an integer\")")
        }
        let count = arguments["n"]?.int ?? 1
        guard count > 0 else { return .ok(command == "pool_grow" ? "pool will grow" : "pool will shrink") }
        if command == "pool_grow" {
            self.growPool(by: count)
        } else {
            do throws(PoolError) {
                try self.shrinkPool(by: count)
            } catch {
                self.updatePrefetch()
                return .error(#"ValueError("Can't shrink pool. All processes busy!")"#)
            }
        }
        self.updatePrefetch()
        return .ok(command == "pool_grow" ? "pool will grow" : "pool will shrink")
    }

    func restartPool(_ arguments: JSONObject) -> ControlAnswer {
        guard self.settings?.allowsPoolRestarts == true else {
            return .error("ValueError('Pool restarts not enabled')")
        }
        let request: JSON = [
            "modules": arguments["modules"] ?? .null, "reload": .bool(arguments["reload"]?.isTruthy == true),
        ]
        self.background { worker in
            do {
                let reply = try await worker.pool.restart(request.encoded)
                worker.projectReloaded(try Manifest(parsing: reply))
            } catch {
                worker.logger.error("the pool could not be restarted", metadata: [LogKeys.error: "\(error)"])
            }
        }
        return .ok("reload started")
    }

    func changeAutoscale(_ arguments: JSONObject) -> ControlAnswer {
        guard self.autoscaler != nil else { return .error("ValueError('Autoscale not enabled')") }
        let changes = self.autoscaler?.update(
            maximum: arguments["max"]?.int,
            minimum: arguments["min"]?.int,
            processes: self.poolSize
        )
        for change in changes ?? [] { self.apply(change) }
        self.updatePrefetch()
        let bounds = self.autoscaler?.bounds ?? AutoscaleBounds(minimum: 0, maximum: 0)
        return .ok("autoscale now max=\(bounds.maximum) min=\(bounds.minimum)")
    }

    // MARK: Queues

    func addConsumer(_ arguments: JSONObject) -> ControlAnswer {
        let queue = arguments["queue"]?.string ?? ""
        self.background { worker in
            do {
                let reply = try await worker.pool.call(
                    "queue.add",
                    JSON.object(arguments).encoded,
                    deadline: Self.pythonCallLimit
                )
                try await worker.startConsuming(QueueSpecification(manifest: try JSON(parsing: reply)))
            } catch {
                worker.logger.error(
                    "a queue could not be added; the others are consumed as before",
                    metadata: [LogKeys.queue: "\(queue)", LogKeys.error: "\(error)"]
                )
            }
        }
        return .ok("add consumer \(queue)")
    }

    func cancelConsumer(_ arguments: JSONObject) -> ControlAnswer {
        let queue = arguments["queue"]?.string ?? ""
        self.callPython("queue.remove", ["queue": .string(queue)])
        self.background { worker in
            do {
                try await worker.stopConsuming(queue)
            } catch {
                worker.logger.error(
                    "a consumer could not be cancelled",
                    metadata: [LogKeys.queue: "\(queue)", LogKeys.error: "\(error)"]
                )
            }
        }
        return .ok("no longer consuming from \(queue)")
    }
}

extension ControlAnswer {
    static func ok(_ text: String) -> ControlAnswer { .reply(["ok": .string(text)]) }

    static func error(_ text: String) -> ControlAnswer { .reply(["error": .string(text)]) }
}

extension JSON {
    /// The name of its type in Python.
    fileprivate var pythonType: String {
        switch self {
        case .null: "NoneType"
        case .bool: "bool"
        case .int, .bigInteger: "int"
        case .double: "float"
        case .string: "str"
        case .array: "list"
        case .object: "dict"
        }
    }
}
