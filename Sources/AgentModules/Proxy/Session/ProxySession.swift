import JSON
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// One launched proxy: a mitmdump that is kept running, its add-ons, its route, and what has come.
///
/// It lives until its owner, a Python process, has ended; ``exit()`` ends its mitmdump before, and what was captured stays.
actor ProxySession {
    enum State {
        case starting
        case serving(MitmdumpControl)
        /// mitmdump has ended by itself, and is started anew.
        case recovering
        case failed(ModuleError)
        case ended
    }

    /// How long mitmdump may take until it is ready.
    static let startLimit = Duration.seconds(30)
    /// How long it may take to do as it is told.
    static let answerLimit = Duration.seconds(10)

    nonisolated let eventLoop: any EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { self.eventLoop.executor.asUnownedSerialExecutor() }

    nonisolated let id: String
    nonisolated let owner: Int32
    let command: MitmdumpCommand
    let logger: Logger

    /// As it was asked for, and once mitmdump has listened as it is.
    var port: Int
    var route: ProxyRoute
    /// Listeners that no new connection takes, and that may still have old ones.
    var former: [RelayListener] = []
    /// As the add-on is told of them, in the order in which they were added.
    var functions: [JSONObject]
    let searchPath: [JSON]
    var captured: CapturedValues
    var state = State.starting { didSet { for watcher in self.watchers.values { watcher.yield() } } }
    /// Of the mitmdump that runs, or ran last.
    var process: ManagedProcess?
    private var watchers: [Int: AsyncStream<Void>.Continuation] = [:]
    private var lastWatcher = 0
    /// Where the mitmdump that runs listens, once it does.
    var listening: Int?
    /// Whether it has ever been ready.
    var isLaunched = false
    /// Whether it was told to end; from then on what mitmdump writes is of no interest.
    nonisolated let isEnding = Atomic(false)
    let exitOrder = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))

    init(
        id: String,
        owner: Int32,
        command: MitmdumpCommand,
        port: Int,
        route: ProxyRoute,
        functions: [JSONObject],
        searchPath: [JSON],
        captured: CapturedValues,
        eventLoop: any EventLoop,
        logger: Logger
    ) {
        self.id = id
        self.owner = owner
        self.command = command
        self.port = port
        self.route = route
        self.functions = functions
        self.searchPath = searchPath
        self.captured = captured
        self.eventLoop = eventLoop
        self.logger = logger
    }

    /// What the SDK is told at the launch.
    var facts: JSONObject {
        var facts = self.route.facts
        facts["proxy"] = .string(self.id)
        facts["url"] = .string("http://127.0.0.1:\(self.port)")
        facts["ca_certificate"] = .string(self.command.certificate)
        return facts
    }

    /// Of the relay's listeners that mitmproxy may have connections to.
    var relayPorts: Set<Int> { Set((self.former + [self.route.listener]).map(\.port)) }

    /// Adds a function; when this returns it is in effect.
    func add(_ function: JSONObject) async throws(ModuleError) {
        try await self.perform(function)
        self.functions.append(function)
    }

    /// Has new requests take another route; when this returns it is in effect. What is in flight goes on.
    func take(_ route: ProxyRoute) async throws(ModuleError) {
        self.former.append(self.route.listener)
        // Also where mitmdump does not answer in time: it comes to the command as soon as it can.
        self.route = route
        try await self.perform(Self.command(for: route))
        await self.retireFormer()
    }

    /// Former listeners take no new connections; those whose last one has ended are forgotten.
    private func retireFormer() async {
        for listener in self.former where listener.id != self.route.listener.id {
            await listener.retire()
            if await listener.openConnections == 0 { self.former.removeAll { $0.id == listener.id } }
        }
    }

    /// Waits until all that came up to now is known here, if mitmproxy tells it within a limit.
    func synchronize(within limit: Duration = ProxySession.answerLimit) async {
        guard case .serving(let control) = self.state else { return }
        do throws(ModuleError) {
            try await control.perform(["do": "sync"], within: limit)
        } catch {
            self.logger.debug("mitmproxy does not tell what has come", metadata: [LogKeys.error: "\(error)"])
        }
    }

    /// Takes what a queue holds.
    func retrieve(_ queue: String) -> [ByteBuffer] { Array(self.captured.take(queue).values) }

    /// Ends mitmdump, and returns when it has ended.
    func exit() async {
        await self.synchronize(within: .seconds(1))
        self.isEnding.store(true, ordering: .relaxed)
        self.exitOrder.continuation.yield()
        while !self.hasEnded, await self.change() {}
    }

    /// Whether there is no mitmdump, and will be none.
    var hasEnded: Bool {
        switch self.state {
        case .failed, .ended: true
        case .starting, .serving, .recovering: false
        }
    }

    /// Waits until mitmdump serves.
    /// - Throws: why it never will.
    func serving() async throws(ModuleError) -> MitmdumpControl {
        while true {
            switch self.state {
            case .serving(let control): return control
            case .failed(let error): throw error
            case .ended: throw ModuleError("not_launched", "the proxy is not running: launch_proxy() comes first")
            case .starting, .recovering:
                guard await self.change() else { throw ModuleError("cancelled", "the call was given up") }
            }
        }
    }

    /// Has the add-on do something, also where mitmdump has to be started anew for it.
    private func perform(_ command: JSONObject) async throws(ModuleError) {
        while true {
            let control = try await self.serving()
            do throws(ModuleError) {
                return try await control.perform(command, within: Self.answerLimit)
            } catch {
                guard error.kind == "ended", !Task.isCancelled else { throw error }
                // The next one may do it.
                if case .serving(let current) = self.state, current === control, !(await self.change()) { throw error }
            }
        }
    }

    static func command(for route: ProxyRoute) -> JSONObject {
        ["do": "route", "port": .int(Int64(route.listener.port))]
    }

    /// Waits for another state.
    /// - Returns: false when the task was cancelled.
    private func change() async -> Bool {
        let (changes, continuation) = AsyncStream<Void>.makeStream()
        self.lastWatcher += 1
        let id = self.lastWatcher
        self.watchers[id] = continuation
        defer { self.watchers[id] = nil }
        for await _ in changes { return true }
        return false
    }
}
