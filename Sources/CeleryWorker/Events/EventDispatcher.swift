import Celery
import NIOCore

/// Gathers a worker's events and makes messages of them (`celery/events/dispatcher.py`).
///
/// Events of tasks go out in lists, each with what has come up in a few milliseconds; those of the worker go out alone.
struct EventDispatcher: Sendable {
    /// The body of one message, and where it goes.
    struct Batch: Sendable, Equatable {
        var routingKey: String
        var body: ByteBuffer
    }

    /// Celery's own bound on a list of events.
    static let batchLimit = 24

    /// Without `-E` a worker reports on itself alone until it is told to report on tasks.
    private(set) var groups: Set<EventGroup>
    private let encoder: EventEncoder
    private var pending = ByteBuffer()
    private var pendingCount = 0

    init(encoder: EventEncoder, groups: Set<EventGroup>) {
        self.encoder = encoder
        self.groups = groups
    }

    func sends(_ group: EventGroup) -> Bool { self.groups.contains(group) }

    mutating func enable(_ group: EventGroup) -> Bool { self.groups.insert(group).inserted }

    mutating func disable(_ group: EventGroup) -> Bool { self.groups.remove(group) != nil }

    /// Adds an event of a task. Returns a full list, if that makes one.
    mutating func task(
        _ type: EventType,
        clock: Int64,
        timestamp: EpochSeconds,
        fields: (inout EventFields) -> Void
    ) -> Batch? {
        if self.pendingCount == 0 {
            self.pending = ByteBufferAllocator().buffer(capacity: 2048)
            self.pending.writeStaticString("[")
        } else {
            self.pending.writeStaticString(", ")
        }
        self.encoder.write(type, clock: clock, timestamp: timestamp, to: &self.pending, fields: fields)
        self.pendingCount += 1
        return self.pendingCount >= Self.batchLimit ? self.flush() : nil
    }

    /// Takes what has been gathered.
    mutating func flush() -> Batch? {
        guard self.pendingCount > 0 else { return nil }
        self.pending.writeStaticString("]")
        defer {
            self.pending = ByteBuffer()
            self.pendingCount = 0
        }
        return Batch(routingKey: "task.multi", body: self.pending)
    }

    func worker(
        _ type: EventType,
        clock: Int64,
        timestamp: EpochSeconds,
        fields: (inout EventFields) -> Void
    ) -> Batch {
        var body = ByteBuffer()
        self.encoder.write(type, clock: clock, timestamp: timestamp, to: &body, fields: fields)
        return Batch(routingKey: type.routingKey, body: body)
    }
}
