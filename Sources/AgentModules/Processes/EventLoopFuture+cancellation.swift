import NIOCore

extension EventLoopFuture where Value: Sendable {
    /// As `get()`, but a task that is cancelled waits no longer.
    /// - Throws: `CancellationError` then.
    func valueUnlessCancelled() async throws -> Value {
        let promise = self.eventLoop.makePromise(of: Value.self)
        self.cascade(to: promise)
        return try await withTaskCancellationHandler {
            try await promise.futureResult.get()
        } onCancel: {
            promise.fail(CancellationError())
        }
    }
}
