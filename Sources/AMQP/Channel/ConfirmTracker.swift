/// The messages that the broker has yet to confirm (RabbitMQ, "Publisher confirms"). No I/O.
///
/// A message is numbered in the step in which it is written. Each waiter comes out exactly once: by an ack, a nack, or the channel's end.
struct ConfirmTracker<Waiter: Sendable>: Sendable {
    struct Outcome: Sendable {
        var waiter: Waiter
        var isAcknowledged: Bool
        var returned: ReturnedMessage?
    }

    private struct Outstanding: Sendable {
        var waiter: Waiter
        /// Set for a mandatory message, so that its return can be told from others'.
        var identity: Int?
        var returned: ReturnedMessage?
    }

    private var outstanding: [UInt64: Outstanding] = [:]
    private var oldest: UInt64 = 1
    private var last: UInt64 = 0

    var count: Int { self.outstanding.count }

    /// A message has been written. Returns its number.
    mutating func published(waiter: Waiter, identity: Int? = nil) -> UInt64 {
        self.last += 1
        self.outstanding[self.last] = Outstanding(waiter: waiter, identity: identity)
        return self.last
    }

    /// A mandatory message could not be routed; its ack follows (RabbitMQ sends `basic.return` first). Messages of the same content are
    /// interchangeable, so the oldest one is meant.
    /// - Returns: whether it was one of these.
    mutating func returned(_ message: ReturnedMessage, identity: Int) -> Bool {
        let match = self.outstanding.filter { $0.value.identity == identity && $0.value.returned == nil }.keys.min()
        guard let match else { return false }
        self.outstanding[match]?.returned = message
        return true
    }

    /// `basic.ack` or `basic.nack`.
    /// - Throws: for a number that was never given.
    mutating func settled(_ tag: UInt64, isMultiple: Bool, isAcknowledged: Bool) throws(AMQPError) -> [Outcome] {
        guard tag <= self.last else { throw .syntax("a confirm of message \(tag), where \(self.last) were published") }
        if !isMultiple {
            guard let found = self.outstanding.removeValue(forKey: tag) else { return [] }
            return [Outcome(waiter: found.waiter, isAcknowledged: isAcknowledged, returned: found.returned)]
        }
        // Tag 0 is all there are (AMQP 0-9-1, basic.ack).
        let end = tag == 0 ? self.last : tag
        guard self.oldest <= end else { return [] }
        defer { self.oldest = end + 1 }
        return (self.oldest...end).compactMap { number in
            self.outstanding.removeValue(forKey: number).map {
                Outcome(waiter: $0.waiter, isAcknowledged: isAcknowledged, returned: $0.returned)
            }
        }
    }

    /// The channel has ended. Returns all who still wait, the oldest first.
    mutating func ended() -> [Waiter] {
        defer { self.outstanding.removeAll() }
        return self.outstanding.sorted { $0.key < $1.key }.map(\.value.waiter)
    }
}
