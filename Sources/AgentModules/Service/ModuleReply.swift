import NIOCore

/// Takes the parts of an answer that is too large for one piece.
public struct ModuleReply: Sendable {
    private let write: @Sendable (ByteBuffer) async throws -> Void

    init(write: @escaping @Sendable (ByteBuffer) async throws -> Void) { self.write = write }

    /// Sends a part. Waits until the caller has taken enough of what was sent before, so that the agent holds no more than a few parts.
    /// - Throws: when the caller has gone.
    public func part(_ value: PythonValue) async throws(ModuleError) {
        do {
            try await self.write(ModuleFrame.encode(.part, value))
        } catch {
            throw ModuleError("cancelled", "the caller has gone")
        }
    }
}
