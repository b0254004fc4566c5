import CeleryWorker
import UnixSignals

/// Turns signals into requests to stop, as `celery worker` understands them (`celery/apps/worker.py`).
struct ShutdownSignals {
    /// Calls `body` with the requests as they come.
    func forwarding<Result: Sendable>(
        _ body: @escaping @Sendable (AsyncStream<Worker.ShutdownRequest>) async throws -> Result
    ) async throws -> Result {
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sigquit)
        let (requests, continuation) = AsyncStream<Worker.ShutdownRequest>.makeStream()
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                var interrupts = 0
                for await signal in signals {
                    if signal == .sigint { interrupts += 1 }
                    continuation.yield(signal == .sigquit || interrupts > 1 ? .cold : .warm)
                }
            }
            defer { group.cancelAll() }
            return try await body(requests)
        }
    }
}
