public import JSON
public import NIOCore

/// Writes events as `celery/events/dispatcher.py` does: the worker's own fields first, then the event's, then its time and type.
///
/// What is the same for all events of a worker is encoded once.
public struct EventEncoder: Sendable {
    /// The text up to the clock's value.
    private let opening: ByteBuffer

    /// - Parameters:
    ///   - utcOffset: hours west of UTC, as Python's `time.timezone // 3600` counts them.
    ///   - pid: the worker's main process.
    public init(nodeName: String, utcOffset: Int, pid: Int32) {
        var opening = ByteBuffer(string: "{\"hostname\": ")
        JSON.write(nodeName, to: &opening)
        opening.writeString(", \"utcoffset\": \(utcOffset), \"pid\": \(pid), \"clock\": ")
        self.opening = opening
    }

    /// Appends one event.
    /// - Parameters:
    ///   - clock: the Lamport clock's value, gone forward for this event.
    ///   - timestamp: seconds since 1970.
    public func write(
        _ type: EventType,
        clock: Int64,
        timestamp: EpochSeconds,
        to buffer: inout ByteBuffer,
        fields: (inout EventFields) -> Void
    ) {
        buffer.writeImmutableBuffer(self.opening)
        buffer.writeString(String(clock))
        // Exchanged and not copied: to append to a buffer that another value holds as well copies all of it.
        var writer = EventFields(buffer: ByteBuffer())
        swap(&writer.buffer, &buffer)
        fields(&writer)
        swap(&writer.buffer, &buffer)
        buffer.writeStaticString(", \"timestamp\": ")
        JSON.write(timestamp, to: &buffer)
        buffer.writeStaticString(", \"type\": ")
        JSON.write(type.rawValue, to: &buffer)
        buffer.writeStaticString("}")
    }
}

/// The fields that are an event's own, written as they are given.
public struct EventFields {
    fileprivate var buffer: ByteBuffer

    public mutating func add(_ name: StaticString, _ value: String?) {
        self.name(name)
        if let value { JSON.write(value, to: &self.buffer) } else { self.buffer.writeStaticString("null") }
    }

    public mutating func add(_ name: StaticString, _ value: Int?) {
        self.name(name)
        if let value { self.buffer.writeString(String(value)) } else { self.buffer.writeStaticString("null") }
    }

    public mutating func add(_ name: StaticString, _ value: Double) {
        self.name(name)
        JSON.write(value, to: &self.buffer)
    }

    public mutating func add(_ name: StaticString, _ value: Bool) {
        self.name(name)
        self.buffer.writeStaticString(value ? "true" : "false")
    }

    public mutating func add(_ name: StaticString, _ value: JSON) {
        self.name(name)
        value.write(to: &self.buffer)
    }

    private mutating func name(_ name: StaticString) {
        self.buffer.writeStaticString(", \"")
        self.buffer.writeStaticString(name)
        self.buffer.writeStaticString("\": ")
    }
}

/// The events of a worker, by the names that their consumers know.
public enum EventType: String, Sendable, CaseIterable {
    case taskReceived = "task-received"
    case taskStarted = "task-started"
    case taskSucceeded = "task-succeeded"
    case taskFailed = "task-failed"
    case taskRetried = "task-retried"
    case taskRevoked = "task-revoked"
    case taskRejected = "task-rejected"
    case taskCancelled = "task-cancelled"
    case workerOnline = "worker-online"
    case workerHeartbeat = "worker-heartbeat"
    case workerOffline = "worker-offline"
    case workerElect = "worker-elect"
    case workerElectAck = "worker-elect-ack"

    /// What the event is about, which `enable_events` and `-E` choose by.
    public var group: EventGroup { self.rawValue.hasPrefix("task-") ? .task : .worker }

    /// The type with dots, as its routing key.
    public var routingKey: String { String(self.rawValue.map { $0 == "-" ? "." : $0 }) }
}

public enum EventGroup: String, Sendable, Hashable {
    case task
    case worker
}
