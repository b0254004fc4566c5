/// Settlements that were decided while their connection was gone: the broker delivers those messages anew, once each.
///
/// Only what was certainly not sent is kept. What was sent just before a connection broke may have been lost with it, but to take a redelivery
/// for one of those could lose a message that a task has published again under its own id; running a job twice is the lesser harm.
struct UnsentSettlements: Sendable {
    /// What is older than this many settlements is forgotten, and then run again if it comes.
    static let limit = 16_384

    private var settlements: [MessageFingerprint: [Settlement]] = [:]
    private var order: [MessageFingerprint] = []

    mutating func insert(_ fingerprint: MessageFingerprint, _ settlement: Settlement) {
        // What goes back to the queue is to be run again, here or elsewhere.
        guard settlement != .reject(requeue: true) else { return }
        self.settlements[fingerprint, default: []].append(settlement)
        self.order.append(fingerprint)
        guard self.order.count > Self.limit else { return }
        for forgotten in self.order.prefix(Self.limit / 2) { _ = self.take(forgotten) }
        self.order.removeFirst(Self.limit / 2)
    }

    /// The settlement of a redelivered message, which this consumes.
    mutating func take(_ fingerprint: MessageFingerprint) -> Settlement? {
        guard var waiting = self.settlements[fingerprint], !waiting.isEmpty else { return nil }
        let settlement = waiting.removeFirst()
        self.settlements[fingerprint] = waiting.isEmpty ? nil : waiting
        return settlement
    }
}
