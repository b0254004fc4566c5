import Glibc
import JSON
public import Logging
import Marshal
public import NIOCore
import Synchronization

/// The user's proxies: `proxy.launch`, `proxy.add`, `proxy.switch`, `proxy.retrieve`, `proxy.retrieve_all`, `proxy.data_count`, `proxy.exit`.
///
/// Each is a mitmdump of its own behind the agent's relay (``ProxySession``), and belongs to the process that launched it.
public struct ProxyModule: AgentModule {
    public let name = "proxy"
    /// With a process that holds the port of a proxy that is to be launched.
    private static let patience = Duration.seconds(1)

    private let configuration: ProxyConfiguration
    private let provider: ProxyProvider
    private let relay: UpstreamRelay
    private let book: ProxyBook
    private let eventLoop: any EventLoop
    private let logger: Logger

    public init(
        _ configuration: ProxyConfiguration,
        http: ModuleHTTPClient,
        eventLoop: any EventLoop,
        logger: Logger
    ) {
        self.configuration = configuration
        self.provider = ProxyProvider(http: http, url: configuration.providerURL)
        self.relay = UpstreamRelay(
            eventLoop: eventLoop,
            authorities: configuration.upstreamAuthorities,
            logger: logger
        )
        self.book = ProxyBook(eventLoop: eventLoop)
        self.eventLoop = eventLoop
        self.logger = logger
    }

    public func run() async throws { await self.book.run() }

    public func call(_ method: String, _ arguments: ModuleArguments, reply: ModuleReply) async throws(ModuleError)
        -> PythonValue
    {
        switch method {
        case "launch": return .json(.object(try await self.launch(arguments)))
        case "switch":
            let route = try await self.change(try await self.session(arguments), arguments)
            return .json(.object(route.facts))
        case "add":
            var function = try arguments.object("function")
            function["do"] = "add"
            try await self.session(arguments).add(function)
            return .none
        case "retrieve":
            guard let value = try await self.captured(arguments).last else { return .none }
            return .bytes(value)
        case "retrieve_all":
            let values = try await self.captured(arguments)
            return PythonValue { writer in
                writer.openList(count: values.count)
                for value in values { writer.bytes(value) }
            }
        case "data_count":
            let session = try await self.session(arguments)
            await session.synchronize()
            return .int(await session.captured.dataCount)
        case "exit":
            await self.book.find(try arguments.string("proxy"))?.exit()
            return .none
        default: throw .unknownMethod("proxy.\(method)")
        }
    }

    private func session(_ arguments: ModuleArguments) async throws(ModuleError) -> ProxySession {
        try await self.book.session(try arguments.string("proxy"))
    }

    private func captured(_ arguments: ModuleArguments) async throws(ModuleError) -> [ByteBuffer] {
        let session = try await self.session(arguments)
        await session.synchronize()
        let values = await session.retrieve(try arguments.string("queue"))
        // Nothing, and nothing to come: that is to be known.
        if values.isEmpty, case .failed(let error) = await session.state { throw error }
        return values
    }
}

// MARK: Launching and switching

extension ProxyModule {
    private func launch(_ arguments: ModuleArguments) async throws(ModuleError) -> JSONObject {
        let settings = try ProxySettings(try arguments.object("config"))
        let functions = (arguments["functions"]?.array ?? []).compactMap(\.object).map { function in
            var function = function
            function["do"] = "add"
            return function
        }
        return try await self.book.serially { () async throws(ModuleError) -> JSONObject in
            var captured = CapturedValues()
            if let id = try arguments.optionalString("proxy"), let former = await self.book.find(id) {
                if await !former.hasEnded {
                    _ = try await former.serving()
                    return await former.facts
                }
                captured = await former.captured
            }
            let command = try self.command()
            try await self.claimPort()
            let route = try await self.route(settings)
            let session = ProxySession(
                id: await self.book.nextID(),
                owner: arguments.caller.pid,
                command: command,
                port: self.configuration.port,
                route: route,
                functions: functions,
                searchPath: arguments["path"]?.array ?? [],
                captured: captured,
                eventLoop: self.eventLoop,
                logger: self.logger
            )
            let authority = try await AuthorityLock.take(for: command, within: ProxySession.startLimit)
            defer { authority?.release() }
            do throws(ModuleError) {
                try await self.book.add(session)
            } catch {
                await route.listener.close()
                throw error
            }
            do throws(ModuleError) {
                _ = try await session.serving()
            } catch {
                await session.exit()
                throw self.takenPort() ?? error
            }
            return await session.facts
        }
    }

    private func command() throws(ModuleError) -> MitmdumpCommand {
        let program = try self.configuration.program()
        return MitmdumpCommand(
            program: program.mitmdump,
            script: program.script,
            directory: self.configuration.authorityDirectory,
            environment: self.configuration.environment
        )
    }

    /// Waits for a proxy that ends, or whose owner has ended, and that has not quite left its port.
    /// - Throws: `port` where it is taken.
    private func claimPort() async throws(ModuleError) {
        let port = self.configuration.port
        guard port != 0 else { return }
        for session in await self.book.proxies(on: port) {
            guard session.isEnding.load(ordering: .relaxed) || kill(session.owner, 0) != 0 else {
                throw ModuleError(
                    "port",
                    """
                    port \(port) is taken by the proxy of process \(session.owner), another one of this agent: AGENT_PROXY_PORT=0 gives each proxy a free \
                    port, which `url` tells
                    """
                )
            }
            await session.exit()
        }
        // An agent that has just ended takes a moment to take its proxies along.
        let deadline = ContinuousClock.now + Self.patience
        while let error = self.takenPort() {
            guard ContinuousClock.now < deadline, (try? await Task.sleep(for: .milliseconds(50))) != nil else {
                throw error
            }
        }
    }

    private func takenPort() -> ModuleError? {
        let port = self.configuration.port
        guard port != 0, !PortHolder.isFree(port) else { return nil }
        let holder = PortHolder.of(port: port)
        return ModuleError(
            "port",
            """
            port \(port) is taken by \(holder?.description ?? "a process that can't be told"): end it, or set AGENT_PROXY_PORT to another port, or to 0 for any \
            free one, which `url` tells
            """,
            details: ["port": .int(Int64(port)), "pid": JSON(holder.map { Int($0.pid) }), "name": JSON(holder?.name)]
        )
    }

    private func change(_ session: ProxySession, _ arguments: ModuleArguments) async throws(ModuleError) -> ProxyRoute {
        let settings = try ProxySettings(try arguments.object("config"))
        _ = try await session.serving()
        let route = try await self.route(settings, besides: await session.relayPorts)
        try await session.take(route)
        return route
    }

    /// - Parameter ports: which mitmproxy has connections to: by its port it tells one route from another.
    private func route(
        _ settings: ProxySettings,
        besides ports: Set<Int> = []
    ) async throws(ModuleError) -> ProxyRoute {
        switch settings {
        case .none:
            return ProxyRoute(listener: try await self.open(.direct, besides: ports), upstream: nil)
        case .direct:
            let url = self.configuration.providerURL
            let proxy = try UpstreamProxy(url)
            let facts: JSONObject = ["proxy_url": .string(url)]
            return ProxyRoute(
                listener: try await self.open(.proxy(proxy), besides: ports),
                upstream: ProxyRoute.Upstream(facts: facts, shown: proxy.description)
            )
        case .provider(let fields):
            let offer = try await self.provider.fetch(fields)
            var facts: JSONObject = ["proxy_url": .string(offer.url), "attempt": offer.attempt]
            for (name, value) in offer.checks { facts[name] = value }
            return ProxyRoute(
                listener: try await self.open(.proxy(offer.upstream), besides: ports),
                upstream: ProxyRoute.Upstream(facts: facts, shown: offer.upstream.description)
            )
        }
    }
    private func open(_ route: UpstreamRoute, besides ports: Set<Int>) async throws(ModuleError) -> RelayListener {
        let listener = try await self.relay.open(route)
        guard ports.contains(listener.port) else { return listener }
        // Kept meanwhile, so that the system does not give this port again.
        do throws(ModuleError) {
            let another = try await self.open(route, besides: ports)
            await listener.close()
            return another
        } catch {
            await listener.close()
            throw error
        }
    }
}
