import NIOCore

/// Tells when to send a sign of life, and when the peer has been silent for too long (AMQP 0-9-1, 4.2.7). Any bytes count.
struct HeartbeatMonitor: Sendable {
    enum Action: Sendable, Equatable {
        case none
        case send
        case peerIsSilent
    }

    private let interval: TimeAmount
    private var lastRead: NIODeadline
    private var lastWrite: NIODeadline

    /// - Returns: `nil` where no heartbeats were agreed on.
    init?(seconds: UInt16, now: NIODeadline) {
        guard seconds > 0 else { return nil }
        self.interval = .seconds(Int64(seconds))
        self.lastRead = now
        self.lastWrite = now
    }

    /// How often to call ``tick(now:)``.
    var tickInterval: TimeAmount { .nanoseconds(self.interval.nanoseconds / 2) }

    mutating func didRead(now: NIODeadline) { self.lastRead = now }
    mutating func didWrite(now: NIODeadline) { self.lastWrite = now }

    /// - Parameter isReading: whether we read at all; the peer can't be blamed for what we don't read.
    mutating func tick(now: NIODeadline, isReading: Bool = true) -> Action {
        if !isReading { self.lastRead = now }
        if now - self.lastRead >= .nanoseconds(self.interval.nanoseconds * 2) { return .peerIsSilent }
        // A little less than half, since timers are never early but may be late.
        guard now - self.lastWrite >= .nanoseconds(self.interval.nanoseconds * 2 / 5) else { return .none }
        self.lastWrite = now
        return .send
    }
}
