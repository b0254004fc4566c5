/// Growing pauses between attempts, each shortened at random so that agents started together don't knock together.
struct Backoff: Sendable {
    /// The first pause before its shortening.
    var initial: Duration = .milliseconds(100)
    /// The longest.
    var maximum: Duration = .seconds(5)
    private var current: Duration?

    init(initial: Duration = .milliseconds(100), maximum: Duration = .seconds(5)) {
        self.initial = initial
        self.maximum = maximum
    }

    /// The next pause: twice the last one's base, times a factor from a half to one.
    ///
    /// - Parameter random: from 0 to 1.
    mutating func next(random: Double) -> Duration {
        let base = min(self.current.map { $0 * 2 } ?? self.initial, self.maximum)
        self.current = base
        return base * (0.5 + 0.5 * min(max(random, 0), 1))
    }
}
