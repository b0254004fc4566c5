import DequeModule

/// The ids of tasks that are not to be run, as many and for as long as Celery remembers them (`celery/worker/state.py`, `revoked`;
/// `celery/utils/collections.py`, `LimitedSet`).
struct RevokedTasks: Sendable {
    /// How much is remembered.
    struct Bounds: Sendable, Equatable {
        /// The most ids (`CELERY_WORKER_REVOKES_MAX`); the oldest go first.
        var count = 50_000
        /// Seconds (`CELERY_WORKER_REVOKE_EXPIRES`).
        var age = 10_800.0
    }

    private let bounds: Bounds
    /// When each was revoked, on the clock that is handed in.
    private var times: [String: Double] = [:]
    /// The oldest first. An id that is revoked again has a newer entry behind, and the older one no longer counts.
    private var order = Deque<(time: Double, id: String)>()

    init(bounds: Bounds = Bounds()) { self.bounds = bounds }

    var count: Int { self.times.count }

    var ids: [String] { self.order.compactMap { self.times[$0.id] == $0.time ? $0.id : nil } }

    /// With the time at which each was revoked, the oldest first.
    var entries: [(id: String, time: Double)] {
        self.order.compactMap { self.times[$0.id] == $0.time ? ($0.id, $0.time) : nil }
    }

    func contains(_ id: String) -> Bool { !self.times.isEmpty && self.times[id] != nil }

    /// - Parameter now: seconds on a clock that never goes back.
    mutating func insert(_ id: String, now: Double) {
        self.times[id] = now
        self.order.append((now, id))
        self.purge(now: now)
    }

    /// Adds what a neighbour, or a file, knows.
    mutating func merge(_ ids: some Sequence<String>, now: Double) {
        for id in ids where self.times[id] == nil { self.insert(id, now: now) }
    }

    /// Forgets what is too old or too much.
    mutating func purge(now: Double) {
        while let oldest = self.order.first {
            if self.times[oldest.id] == oldest.time {
                guard self.times.count > self.bounds.count || oldest.time + self.bounds.age < now else { break }
                self.times[oldest.id] = nil
            }
            self.order.removeFirst()
        }
        // The same few ids revoked over and over leave entries that no longer count behind one that does.
        if self.order.count > 2 * self.times.count + 64 {
            self.order.removeAll { self.times[$0.id] != $0.time }
        }
    }
}
