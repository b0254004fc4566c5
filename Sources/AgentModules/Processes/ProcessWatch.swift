public import NIOCore

/// Waits for the end of a process that is not the agent's child: a Python worker that something was started for.
public struct ProcessWatch: Sendable {
    private let eventLoop: any EventLoop

    public init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    /// Returns when the process has ended; at once if there is none of this number.
    /// - Throws: `CancellationError`; ``ModuleError`` where the system has no more descriptors.
    public func end(of pid: Int32) async throws {
        guard let end = try ProcessEnd(of: pid, on: self.eventLoop) else { return }
        try await withTaskCancellationHandler {
            try await end.future.get()
            try Task.checkCancellation()
        } onCancel: {
            end.cancel()
        }
    }
}
