import NIOCore

/// The proxies of one agent, and who may launch one now.
actor ProxyBook {
    nonisolated let eventLoop: any EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { self.eventLoop.executor.asUnownedSerialExecutor() }

    private var sessions: [String: ProxySession] = [:]
    private var lastNumber = 0
    private let launched = AsyncStream<ProxySession>.makeStream()
    private var isBusy = false
    private var queue: [AsyncStream<Void>.Continuation] = []

    init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    /// Runs sessions until it is cancelled.
    func run() async {
        await withDiscardingTaskGroup { group in
            for await session in self.launched.stream {
                group.addTask {
                    await session.run()
                    await self.remove(session)
                }
            }
        }
    }

    /// Has `body` run when no other one does: two launches must not take one port, nor make one authority.
    func serially<Result: Sendable>(
        _ body: () async throws(ModuleError) -> Result
    ) async throws(ModuleError) -> Result {
        while self.isBusy {
            let (turn, continuation) = AsyncStream<Void>.makeStream()
            self.queue.append(continuation)
            for await _ in turn { break }
            if Task.isCancelled { throw ModuleError("cancelled", "the call was given up") }
        }
        self.isBusy = true
        defer {
            self.isBusy = false
            // Those that were given up take no turn.
            for continuation in self.queue { continuation.yield() }
            self.queue = []
        }
        return try await body()
    }

    func nextID() -> String {
        self.lastNumber += 1
        return "\(self.lastNumber)"
    }

    func add(_ session: ProxySession) throws(ModuleError) {
        guard case .enqueued = self.launched.continuation.yield(session) else {
            throw ModuleError("unavailable", "no proxy is launched: the agent ends")
        }
        self.sessions[session.id] = session
    }

    func remove(_ session: ProxySession) {
        if self.sessions[session.id] === session { self.sessions[session.id] = nil }
    }

    /// - Throws: `not_launched`.
    func session(_ id: String) throws(ModuleError) -> ProxySession {
        guard let session = self.sessions[id] else {
            throw ModuleError("not_launched", "there is no such proxy: the process that launched it has ended")
        }
        return session
    }

    func find(_ id: String) -> ProxySession? { self.sessions[id] }

    /// The proxies that have a mitmdump on a port, or will have one again.
    func proxies(on port: Int) async -> [ProxySession] {
        var found: [ProxySession] = []
        for session in self.sessions.values {
            if await session.port == port, await !session.hasEnded { found.append(session) }
        }
        return found
    }
}
