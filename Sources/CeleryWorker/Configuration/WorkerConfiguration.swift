public import Celery

/// How a worker is to work, as far as the project's own configuration does not tell.
public struct WorkerConfiguration: Sendable {
    /// The worker's name, under which remote control finds it.
    public var nodeName: NodeName
    /// How many Python workers run jobs at the same time.
    public var concurrency: Int
    /// Messages reserved for each Python worker; 0 for no limit.
    public var prefetchMultiplier: Int
    /// Names the broker's addresses, and how to get in.
    public var broker: BrokerConfiguration
    /// How long running jobs may take to end in a warm shutdown, in seconds; `nil` for as long as they need.
    public var drainTimeout: Double?
    /// Seconds between two reports of this worker on itself; `nil` for none.
    public var heartbeatInterval: Double?
    /// Whether events of tasks are sent from the start (`-E`).
    public var sendsTaskEvents: Bool
    /// Whether messages on their way to and from a job are told of at `info`, as Celery's own worker does at that level.
    public var logsEachTask: Bool

    public init(
        nodeName: NodeName,
        concurrency: Int = 1,
        prefetchMultiplier: Int = 1,
        broker: BrokerConfiguration,
        drainTimeout: Double? = nil,
        heartbeatInterval: Double? = 2,
        sendsTaskEvents: Bool = false,
        logsEachTask: Bool = false
    ) {
        self.nodeName = nodeName
        self.concurrency = concurrency
        self.prefetchMultiplier = prefetchMultiplier
        self.broker = broker
        self.drainTimeout = drainTimeout
        self.heartbeatInterval = heartbeatInterval
        self.sendsTaskEvents = sendsTaskEvents
        self.logsEachTask = logsEachTask
    }

    /// `basic.qos`'s prefetch count: Celery sends what doesn't fit AMQP's 16 bits as 0, no limit (`kombu/common.py`, `QoS.set`).
    func prefetchCount(scheduled: Int) -> UInt16 {
        guard self.prefetchMultiplier > 0 else { return 0 }
        let (base, overflow) = self.concurrency.multipliedReportingOverflow(by: self.prefetchMultiplier)
        guard !overflow else { return 0 }
        return UInt16(exactly: max(base, 1) + scheduled) ?? 0
    }
}
