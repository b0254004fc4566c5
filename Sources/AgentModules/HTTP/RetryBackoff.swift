/// How long to wait before a request is sent again: twice as long each time, and less by chance, so that the agents of a run don't come all at once.
struct RetryBackoff: Sendable {
    private(set) var attempts = 0

    mutating func next() -> Duration {
        let longest = 0.1 * Double(1 << min(self.attempts, 5))
        self.attempts += 1
        return .seconds(longest * Double.random(in: 0.5...1))
    }
}
