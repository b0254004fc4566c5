/// Which failures are worth a line in the log: of those that are the same, one a minute.
struct FailureLog {
    private static let interval = Duration.seconds(60)
    /// How many kinds are told apart.
    private static let limit = 64

    private var kinds: [String: (since: ContinuousClock.Instant, unlogged: Int)] = [:]

    /// - Returns: how many of the same have not been logged before this one; `nil` where this one is not to be logged either.
    mutating func admit(_ text: String, at now: ContinuousClock.Instant) -> Int? {
        if let kind = self.kinds[text], now - kind.since < Self.interval {
            self.kinds[text]?.unlogged += 1
            return nil
        }
        let unlogged = self.kinds[text]?.unlogged ?? 0
        if self.kinds.count >= Self.limit { self.kinds = self.kinds.filter { now - $0.value.since < Self.interval } }
        guard self.kinds.count < Self.limit else { return nil }
        self.kinds[text] = (now, 0)
        return unlogged
    }
}
