/// Continuations by number, each resumed once: by its answer, by an error, or by its task's cancellation.
struct Waiters<Value: Sendable>: ~Copyable {
    typealias ID = UInt64

    private var continuations: [ID: CheckedContinuation<Value, any Error>] = [:]

    mutating func insert(_ continuation: CheckedContinuation<Value, any Error>, _ id: ID) {
        self.continuations[id] = continuation
    }

    /// - Returns: whether it still waited; one that was cancelled does not.
    @discardableResult
    mutating func resume(_ id: ID, _ result: Result<Value, any Error>) -> Bool {
        guard let continuation = self.continuations.removeValue(forKey: id) else { return false }
        continuation.resume(with: result)
        return true
    }

    /// Its task has been cancelled.
    mutating func cancel(_ id: ID) { self.resume(id, .failure(CancellationError())) }

    mutating func resumeAll(_ result: Result<Value, any Error>) {
        let all = self.continuations
        self.continuations.removeAll()
        for (_, continuation) in all { continuation.resume(with: result) }
    }

    /// Resumes those who have waited for longest, at most `limit` of them.
    mutating func resumeOldest(_ limit: Int, _ result: Result<Value, any Error>) {
        guard limit < self.continuations.count else { return self.resumeAll(result) }
        // Few wait as a rule; for many, sorting once for a batch is cheaper than keeping an order at each step.
        for id in self.continuations.keys.sorted().prefix(max(limit, 0)) { self.resume(id, result) }
    }

    var isEmpty: Bool { self.continuations.isEmpty }

    deinit {
        for (_, continuation) in self.continuations {
            continuation.resume(throwing: AMQPError(.closed, "nobody is left to answer"))
        }
    }
}
