import NIOConcurrencyHelpers

/// Tells any number of waiters that something has changed, so that they look again.
///
/// A waiter subscribes before it looks at the state; then no change can fall between its look and its wait.
final class Broadcast: Sendable {
    private struct State {
        var lastID = 0
        var continuations: [Int: AsyncStream<Void>.Continuation] = [:]
    }

    private let state = NIOLockedValueBox(State())

    func send() {
        for continuation in self.state.withLockedValue({ Array($0.continuations.values) }) { continuation.yield() }
    }

    /// An element for each change from now on; changes that nobody took in between count as one.
    func subscribe() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let id = self.state.withLockedValue { state in
            state.lastID += 1
            state.continuations[state.lastID] = continuation
            return state.lastID
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLockedValue { _ = $0.continuations.removeValue(forKey: id) }
        }
        return stream
    }
}

extension Worker {
    /// Waits until `condition` holds, looking again at each change of the worker's state.
    func wait(until condition: @Sendable (isolated Worker) -> Bool) async throws {
        let changes = self.stateChanges.subscribe()
        if condition(self) { return }
        for await _ in changes where condition(self) { return }
        throw CancellationError()
    }
}
