public import JSON

/// What a registered task asks of its worker: the attributes of the bound task object that the parent side of a worker reads.
public struct TaskOptions: Sendable, Equatable {
    /// Acknowledge when the task has ended, not when it starts.
    public var acksLate: Bool
    /// With ``acksLate``: a failure acknowledges too; else the message is rejected.
    public var acksOnFailure: Bool
    /// With ``acksLate``: a time limit acknowledges too; else the message goes back to its queue.
    public var acksOnTimeout: Bool
    /// With ``acksLate``: a task whose worker died goes back to its queue.
    public var rejectOnWorkerLost: Bool
    public var ignoreResult: Bool
    public var storeErrorsEvenIfIgnored: Bool
    public var sendsEvents: Bool
    /// As written in the project: `"10/m"`, a number a second, or none.
    public var rateLimit: String?
    /// Seconds.
    public var hardTimeLimit: Double?
    /// Seconds.
    public var softTimeLimit: Double?
    public var exchange: String?
    public var routingKey: String?

    public init(
        acksLate: Bool = false,
        acksOnFailure: Bool = true,
        acksOnTimeout: Bool = true,
        rejectOnWorkerLost: Bool = false,
        ignoreResult: Bool = false,
        storeErrorsEvenIfIgnored: Bool = false,
        sendsEvents: Bool = true,
        rateLimit: String? = nil,
        hardTimeLimit: Double? = nil,
        softTimeLimit: Double? = nil,
        exchange: String? = nil,
        routingKey: String? = nil
    ) {
        self.acksLate = acksLate
        self.acksOnFailure = acksOnFailure
        self.acksOnTimeout = acksOnTimeout
        self.rejectOnWorkerLost = rejectOnWorkerLost
        self.ignoreResult = ignoreResult
        self.storeErrorsEvenIfIgnored = storeErrorsEvenIfIgnored
        self.sendsEvents = sendsEvents
        self.rateLimit = rateLimit
        self.hardTimeLimit = hardTimeLimit
        self.softTimeLimit = softTimeLimit
        self.exchange = exchange
        self.routingKey = routingKey
    }

    /// Reads the attributes as the Python main process reports them.
    public init(manifest: JSON) {
        // Celery before 5.7 has one option for both.
        let acksOnBoth = manifest["acks_on_failure_or_timeout"]?.bool ?? true
        self.init(
            acksLate: manifest["acks_late"]?.bool ?? false,
            acksOnFailure: manifest["acks_on_failure"]?.bool ?? acksOnBoth,
            acksOnTimeout: manifest["acks_on_timeout"]?.bool ?? acksOnBoth,
            rejectOnWorkerLost: manifest["reject_on_worker_lost"]?.bool ?? false,
            ignoreResult: manifest["ignore_result"]?.bool ?? false,
            storeErrorsEvenIfIgnored: manifest["store_errors_even_if_ignored"]?.bool ?? false,
            sendsEvents: manifest["send_events"]?.bool ?? true,
            rateLimit: manifest["rate_limit"].flatMap { $0.string ?? $0.double.map { $0.description } },
            hardTimeLimit: manifest["time_limit"]?.double,
            softTimeLimit: manifest["soft_time_limit"]?.double,
            exchange: manifest["exchange"]?.string,
            routingKey: manifest["routing_key"]?.string
        )
    }
}
