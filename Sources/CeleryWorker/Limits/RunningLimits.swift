/// The time limits of the jobs that run now. There are no more of them than Python workers, so a look at each is quick.
///
/// They belong to the jobs, not to a connection: a lost connection changes nothing about them. A value type with no clock of its own.
struct RunningLimits: Sendable {
    /// A limit that has been reached, in seconds.
    enum Expiry: Sendable, Equatable {
        case soft(Job.ID, limit: Double)
        case hard(Job.ID, limit: Double)
    }

    private struct Entry {
        var started: Double
        var limits: TimeLimits
        /// Whether the soft limit is still to come.
        var awaitsSoft: Bool

        var due: Double? {
            let soft = self.awaitsSoft ? self.limits.soft : nil
            guard let earliest = [soft, self.limits.hard].compactMap({ $0 }).min() else { return nil }
            return self.started + earliest
        }
    }

    private var entries: [Job.ID: Entry] = [:]

    /// - Parameter now: seconds on a clock that never goes back.
    mutating func started(_ id: Job.ID, _ limits: TimeLimits, now: Double) {
        guard !limits.isNone else { return }
        self.entries[id] = Entry(started: now, limits: limits, awaitsSoft: limits.soft != nil)
    }

    mutating func ended(_ id: Job.ID) {
        if !self.entries.isEmpty { self.entries[id] = nil }
    }

    /// When the next limit is reached.
    var due: Double? { self.entries.values.compactMap(\.due).min() }

    /// The limits that have been reached; each is told once.
    mutating func expire(now: Double) -> [Expiry] {
        var expired: [Expiry] = []
        for (id, entry) in self.entries {
            if let hard = entry.limits.hard, entry.started + hard <= now {
                self.entries[id] = nil
                expired.append(.hard(id, limit: hard))
            } else if entry.awaitsSoft, let soft = entry.limits.soft, entry.started + soft <= now {
                self.entries[id]?.awaitsSoft = false
                expired.append(.soft(id, limit: soft))
            }
        }
        return expired
    }
}
