/// Continuations by number, each resumed once: by its answer, by an error, or by its task's cancellation.
struct Waiters<Value: Sendable>: ~Copyable {
    typealias ID = UInt64

    private var continuations: [ID: CheckedContinuation<Value, any Error>] = [:]

    mutating func insert(_ continuation: CheckedContinuation<Value, any Error>, _ id: ID) {
        self.continuations[id] = continuation
    }

    mutating func resume(_ id: ID, _ result: Result<Value, any Error>) {
        // None for one that was cancelled meanwhile.
        self.continuations.removeValue(forKey: id)?.resume(with: result)
    }

    mutating func resumeAll(_ result: Result<Value, any Error>) {
        let all = self.continuations
        self.continuations.removeAll()
        for (_, continuation) in all { continuation.resume(with: result) }
    }

    var isEmpty: Bool { self.continuations.isEmpty }

    deinit {
        for (_, continuation) in self.continuations {
            continuation.resume(throwing: AMQPError(.closed, "nobody is left to answer"))
        }
    }
}
