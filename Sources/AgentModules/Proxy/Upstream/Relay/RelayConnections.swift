import Logging
import NIOCore

/// The open connections of one route; on the event loop.
final class RelayConnections {
    private var connections: [ObjectIdentifier: RelayConnection] = [:]
    private var whenEmpty: [EventLoopPromise<Void>] = []
    private var log = FailureLog()
    private let eventLoop: any EventLoop
    private let logger: Logger

    init(eventLoop: any EventLoop, logger: Logger) {
        self.eventLoop = eventLoop
        self.logger = logger
    }

    var count: Int { self.connections.count }
    var heldBytes: Int { self.connections.values.reduce(0) { $0 + $1.heldBytes } }

    func add(_ connection: RelayConnection) { self.connections[ObjectIdentifier(connection)] = connection }

    func remove(_ connection: RelayConnection) {
        self.connections[ObjectIdentifier(connection)] = nil
        guard self.connections.isEmpty else { return }
        for promise in self.whenEmpty { promise.succeed() }
        self.whenEmpty = []
    }

    /// Breaks all off.
    /// - Returns: fulfilled when none is left.
    func abort() -> EventLoopFuture<Void> {
        for connection in Array(self.connections.values) { connection.abort() }
        guard !self.connections.isEmpty else { return self.eventLoop.makeSucceededVoidFuture() }
        let promise = self.eventLoop.makePromise(of: Void.self)
        self.whenEmpty.append(promise)
        return promise.futureResult
    }

    /// Tells the log of an upstream proxy that is not as it should be. Of targets that can't be reached the client is told; a browser meets such all day.
    func report(_ failure: RelayFailure) {
        guard failure.isOfProxy else {
            self.logger.debug("a request could not be relayed", metadata: [LogKeys.error: "\(failure)"])
            return
        }
        guard let unlogged = self.log.admit(failure.description, at: .now) else { return }
        var metadata: Logger.Metadata = [LogKeys.error: "\(failure)"]
        if unlogged > 0 { metadata[LogKeys.count] = "\(unlogged + 1)" }
        self.logger.warning("the upstream proxy can't be used", metadata: metadata)
    }
}
