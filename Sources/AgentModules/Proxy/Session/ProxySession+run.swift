import CPool
import Glibc
import JSON
import Logging
import NIOCore
import Spawning
import Synchronization

extension ProxySession {
    /// Keeps mitmdump running. Returns when the owner has ended, or when mitmdump was never ready.
    func run() async {
        enum Ended { case owner, mitmdump }
        await withTaskGroup(of: Ended.self) { group in
            group.addTask {
                await self.ownersEnd()
                return .owner
            }
            group.addTask {
                await self.supervise()
                return .mitmdump
            }
            while let ended = await group.next() {
                if ended == .owner || !self.isLaunched { break }
            }
            group.cancelAll()
        }
    }

    private func ownersEnd() async {
        do {
            try await ProcessWatch(eventLoop: self.eventLoop).end(of: self.owner)
        } catch {
            guard !Task.isCancelled else { return }
            self.logger.warning(
                "the proxy's owner can't be watched; the proxy lives as long as the agent",
                metadata: [LogKeys.error: "\(error)"]
            )
            try? await Task.sleep(for: .seconds(Int64.max >> 32))
        }
    }

    private func supervise() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.keepServing() }
            group.addTask { for await _ in self.exitOrder.stream { break } }
            await group.next()
            self.isEnding.store(true, ordering: .relaxed)
            group.cancelAll()
        }
        for listener in self.former + [self.route.listener] { await listener.close() }
        self.former = []
        if case .failed = self.state {} else { self.state = .ended }
    }

    /// Starts mitmdump, and anew when it has ended by itself.
    private func keepServing() async {
        var policy = RestartPolicy()
        while !Task.isCancelled {
            let error = await self.serve()
            if Task.isCancelled { return }
            guard self.isLaunched else {
                self.state = .failed(error)
                return
            }
            guard let pause = policy.ended(at: .now) else {
                let failure = ModuleError(
                    "mitmproxy",
                    """
                    the proxy has failed: mitmdump has ended \(RestartPolicy.limit) times within \(RestartPolicy.window.components.seconds) s; \
                    last: \(error.message)
                    """
                )
                self.logger.error("the proxy has failed", metadata: [LogKeys.error: "\(failure.message)"])
                self.state = .failed(failure)
                return
            }
            self.logger.warning("mitmdump is started anew", metadata: [LogKeys.error: "\(error.message)"])
            self.state = .recovering
            try? await Task.sleep(for: pause)
        }
    }

    /// Runs one mitmdump.
    /// - Returns: why it has ended.
    private func serve() async -> ModuleError {
        var ends: [Int32] = [-1, -1]
        let result = cpool_socketpair(Int32(SOCK_STREAM.rawValue), &ends)
        guard result >= 0 else { return ModuleError("system", "socketpair failed: errno \(-result)") }
        let (mine, theirs) = (Descriptor(ends[0]), Descriptor(ends[1]))
        let command = self.command.process(
            port: self.port,
            upstream: self.route.listener.port,
            control: theirs.number
        ) { line, isError in
            let level: Logger.Level = self.isEnding.load(ordering: .relaxed) ? .debug : isError ? .warning : .info
            self.logger.log(level: level, "mitmdump: \(line)")
        }
        self.process = nil
        self.listening = nil
        do {
            let (_, exit) = try await ManagedProcess.run(command, on: self.eventLoop) { process in
                theirs.close()
                self.process = process
                try await self.converse(over: mine.release(), with: process)
            }
            return ModuleError("mitmproxy", self.words("mitmdump has ended (\(exit))"))
        } catch let error as ModuleError {
            // Its own words say more than that it has gone.
            return error.kind == "ended" ? ModuleError("mitmproxy", self.words(error.message)) : error
        } catch {
            return ModuleError("mitmproxy", self.words("mitmdump can't be run (\(error))"))
        }
    }

    private func words(_ text: String) -> String {
        let lines = (self.process?.lastLines ?? []).filter { !$0.hasPrefix("Error logged during startup") }
        return lines.isEmpty ? text : "\(text): \(lines.joined(separator: " / "))"
    }

    /// Makes it ready, and waits until it ends.
    private func converse(over descriptor: Int32, with process: ManagedProcess) async throws {
        let control = MitmdumpControl(eventLoop: self.eventLoop)
        try await control.run(over: descriptor) { event in
            await self.receive(event)
        } _: {
            try await self.prepare(control)
            _ = try await process.exit()
        }
        // It has closed the channel: it ends.
        _ = try await process.exit()
    }

    /// Tells it all that it is to know, and waits until it listens.
    private func prepare(_ control: MitmdumpControl) async throws {
        let deadline = ContinuousClock.now + Self.startLimit
        let route = Self.command(for: self.route)
        let commands = [route, ["do": "path", "folders": .array(self.searchPath)]] + self.functions
        for command in commands {
            do throws(ModuleError) {
                try await control.perform(command, within: deadline - .now)
            } catch {
                throw self.failure(error, of: command)
            }
        }
        // Told before the first answer.
        guard let port = self.listening else { throw ModuleError("mitmproxy", "mitmdump listens nowhere") }
        self.port = port
        self.isLaunched = true
        self.state = .serving(control)
    }

    private func failure(_ error: ModuleError, of command: JSONObject) -> ModuleError {
        switch error.kind {
        case "timeout":
            let text = "mitmdump was not ready within \(Self.startLimit.components.seconds) s"
            return ModuleError("mitmproxy", self.words(text))
        case "function":
            let name = command["name"]?.string ?? "a function"
            return ModuleError("function", "\(name) can't run in mitmproxy: \(error.message)")
        default: return error
        }
    }

    private func receive(_ event: ControlEvent) {
        switch event {
        case .ready(let port): self.listening = port
        case .answer: break
        case .count(let bytes): self.captured.count(bytes)
        case .value(let queue, let value):
            if self.captured.add(value, to: queue) {
                self.logger.warning(
                    "nobody retrieves what a retriever captures: its oldest values are dropped",
                    metadata: [LogKeys.queue: "\(queue)"]
                )
            }
        case .raised(let function, let error, let times, let traceback):
            var metadata: Logger.Metadata = [LogKeys.function: "\(function)", LogKeys.error: "\(error)"]
            if times == 1 {
                metadata[LogKeys.traceback] = "\(traceback)"
            } else {
                metadata[LogKeys.count] = "\(times)"
            }
            self.logger.error("a function that was added to the proxy has raised", metadata: metadata)
        }
    }
}
