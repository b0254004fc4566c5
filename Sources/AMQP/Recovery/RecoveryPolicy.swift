/// How to go on after a connection was lost, or could not be made.
public struct RecoveryPolicy: Sendable, Equatable {
    /// In which order the endpoints are tried.
    public enum Failover: Sendable, Equatable {
        case roundRobin
        case shuffle
    }

    /// Seconds before the second round of attempts; the first one is made at once.
    public var initialDelay: Double
    /// Seconds.
    public var maximumDelay: Double
    public var multiplier: Double
    /// The share of a delay that chance takes off, from 0 to 1, so that many clients don't come back in one moment.
    public var jitter: Double
    /// Rounds of attempts without success before giving up; `nil` for no limit.
    public var maximumAttempts: Int?
    /// The same before there has been any connection; at first as ``maximumAttempts``.
    public var maximumAttemptsAtStart: Int?
    public var failover: Failover
    /// A connection that lasted less than this many seconds counts as an attempt without success.
    public var stableAfter: Double

    public init(
        initialDelay: Double = 0.5,
        maximumDelay: Double = 30,
        multiplier: Double = 2,
        jitter: Double = 0.5,
        maximumAttempts: Int? = nil,
        failover: Failover = .roundRobin,
        stableAfter: Double = 5
    ) {
        self.initialDelay = initialDelay
        self.maximumDelay = maximumDelay
        self.multiplier = multiplier
        self.jitter = jitter
        self.maximumAttempts = maximumAttempts
        self.maximumAttemptsAtStart = maximumAttempts
        self.failover = failover
        self.stableAfter = stableAfter
    }

    /// The pause before a round of attempts, in seconds.
    /// - Parameters:
    ///   - failures: how many rounds without success came before, from 1 on.
    ///   - chance: from 0 to 1.
    public func delay(failures: Int, chance: Double) -> Double {
        var delay = self.initialDelay
        for _ in 1..<max(failures, 1) where delay < self.maximumDelay { delay *= self.multiplier }
        return min(delay, self.maximumDelay) * (1 - self.jitter * chance)
    }
}
