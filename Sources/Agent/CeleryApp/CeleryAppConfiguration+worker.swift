import Celery
import CeleryWorker
import Glibc
import JSON
public import Logging

extension CeleryAppConfiguration {
    /// Puts this process where the command line wants it: its folder, user and permissions. To be called before all else.
    public func enterProcess() throws {
        if let workingDirectory, chdir(workingDirectory) != 0 {
            let reason = String(cString: strerror(errno))
            throw OptionProblems(problems: [
                OptionProblem(
                    option: "--workdir",
                    found: "\(Redaction.quoted(workingDirectory)) (\(reason))",
                    expected: "a folder that can be entered"
                )
            ])
        }
        try Privileges.drop(user: self.user, group: self.group)
        if let mask { _ = Glibc.umask(mask) }
    }

    /// A maker of log handlers, for `LoggingSystem.bootstrap`.
    /// - Throws: ``LogFileError``.
    public func logHandler() throws -> @Sendable (String) -> any LogHandler {
        let sink: any LogSink =
            try self.logFile.map { try FileLogSink(path: self.nodeName.expanding($0)) }
            ?? DescriptorLogSink.standardError
        let format = self.logFormat
        let level = self.logLevel.level
        return { label in AgentLogHandler(label: label, format: format, level: level, sink: sink) }
    }

    var worker: WorkerConfiguration {
        WorkerConfiguration(
            nodeName: self.nodeName,
            pool: self.pool,
            concurrency: self.concurrency,
            prefetchMultiplier: self.prefetchMultiplier,
            autoscale: self.autoscale,
            timeLimit: self.timeLimit,
            softTimeLimit: self.softTimeLimit,
            sendsTaskEvents: self.sendsTaskEvents ? true : nil,
            heartbeatInterval: self.heartbeatInterval,
            mingles: self.mingles,
            gossips: self.gossips,
            stateFile: self.stateFile.map(self.nodeName.expanding),
            purgesQueues: self.purgesQueues,
            drainTimeout: self.drainLimit?.inSeconds,
            maximumDeliveries: self.maximumDeliveries,
            logsEachTask: self.logLevel.level <= .info
        )
    }

    /// The variables by which `celery`'s command line hands its options to the app (`celery/bin/celery.py`).
    var celeryVariables: [String: String] {
        var variables: [String: String] = [:]
        variables["CELERY_BROKER_URL"] = self.broker
        variables["CELERY_RESULT_BACKEND"] = self.resultBackend
        variables["CELERY_LOADER"] = self.loader
        variables["CELERY_CONFIG_MODULE"] = self.config
        variables["CELERY_SKIP_CHECKS"] = self.skipsChecks ? "true" : nil
        return variables
    }

    /// What the Python main process is asked to load (`armada_agent/runtime/celery_app.py`).
    /// - Parameter commandLine: of this process; projects look at it.
    func loadRequest(commandLine: [String]) -> JSON {
        [
            "mode": "app",
            "app": JSON(self.app),
            "hostname": .string(self.nodeName.description),
            "queues": .array(self.queues.map(JSON.string)),
            "exclude_queues": .array(self.excludedQueues.map(JSON.string)),
            "arguments": .array(self.arguments.map(JSON.string)),
            "argv": .array(commandLine.map(JSON.string)),
            "options": .object(self.celeryOptions),
        ]
    }

    /// By the names under which Celery's worker, and receivers of `celeryd_init`, know them; `null` where nothing was given.
    private var celeryOptions: JSONObject {
        [
            "loglevel": .string(self.logLevel.name),
            "logfile": JSON(self.logFile),
            "pidfile": JSON(self.pidFile.map(self.nodeName.expanding)),
            "statedb": JSON(self.stateFile.map(self.nodeName.expanding)),
            "no_color": .bool(self.isWithoutColor),
            "quiet": .bool(self.isQuiet),
            "concurrency": JSON(self.concurrency),
            "pool": JSON(self.pool?.rawValue),
            "autoscale": self.autoscale.map { .array([.int(Int64($0.maximum)), .int(Int64($0.minimum))]) } ?? .null,
            "task_events": self.sendsTaskEvents ? true : .null,
            "time_limit": self.timeLimit.map(JSON.double) ?? .null,
            "soft_time_limit": self.softTimeLimit.map(JSON.double) ?? .null,
            "max_tasks_per_child": JSON(self.maximumTasksPerChild),
            "max_memory_per_child": JSON(self.maximumMemoryPerChild),
            "prefetch_multiplier": JSON(self.prefetchMultiplier),
            "disable_prefetch": self.disablesPrefetch ? true : .null,
            "purge": .bool(self.purgesQueues),
            "queues": .array(self.queues.map(JSON.string)),
            "exclude_queues": .array(self.excludedQueues.map(JSON.string)),
            "include": .array(self.include.map(JSON.string)),
            "without_gossip": .bool(!self.gossips),
            "without_mingle": .bool(!self.mingles),
            "without_heartbeat": .bool(self.heartbeatInterval == nil),
            "heartbeat_interval": self.heartbeatInterval.map(JSON.double) ?? .null,
            "uid": JSON(self.user),
            "gid": JSON(self.group),
            "umask": self.mask.map { .string(String($0, radix: 8)) } ?? .null,
        ]
    }
}
