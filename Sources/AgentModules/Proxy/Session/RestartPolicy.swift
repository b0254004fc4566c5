/// Whether, and after which pause, a mitmdump that has ended by itself is started anew.
struct RestartPolicy {
    /// So many ends within this time are too many.
    static let limit = 5
    static let window = Duration.seconds(60)

    private var ends: [ContinuousClock.Instant] = []

    /// mitmdump has ended.
    /// - Returns: how long to wait before it is started anew; `nil` where it is given up.
    mutating func ended(at now: ContinuousClock.Instant) -> Duration? {
        self.ends.removeAll { now - $0 >= Self.window }
        self.ends.append(now)
        guard self.ends.count < Self.limit else { return nil }
        // At once for the first time: requests wait for it.
        return self.ends.count == 1 ? .zero : .milliseconds(50 << self.ends.count)
    }
}
