/// How many messages an outbox holds, and what has become of those that it held since the agent's start.
public struct OutboxCounts: Sendable, Equatable {
    /// Kept, and not delivered yet; an earlier agent's too.
    public var waiting: Int
    public var delivered: Int
    /// Refused for good, and kept in the file `refused`.
    public var refused: Int

    public init(waiting: Int = 0, delivered: Int = 0, refused: Int = 0) {
        self.waiting = waiting
        self.delivered = delivered
        self.refused = refused
    }
}
