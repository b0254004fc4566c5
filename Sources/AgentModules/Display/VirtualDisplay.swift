import Logging
import NIOConcurrencyHelpers
import NIOCore
import Spawning

/// A screen of our own: an Xvfb that lives as long as the process that it was started for, or until it is stopped.
///
/// One that ends by itself is not started again: the programs that drew on it have ended with it. What it said is kept, for the next call to tell.
final class VirtualDisplay: Sendable {
    enum Phase: Sendable, Equatable {
        case starting
        /// The number of the display.
        case running(Int)
        /// Why.
        case ended(String)
    }

    private enum End: Equatable { case process, owner, stopped, late }

    private let screen: ScreenConfiguration
    private let authority: String
    private let owner: Int32
    private let eventLoop: any EventLoop
    private let logger: Logger
    private let startLimit: Duration
    private let current = NIOLockedValueBox(Phase.starting)
    private let ready: EventLoopPromise<Int>
    private let stopping: EventLoopPromise<Void>
    private let finished: EventLoopPromise<Void>

    /// - Parameters:
    ///   - authority: the file with the secret.
    ///   - owner: a process; the display ends with it.
    init(
        _ screen: ScreenConfiguration,
        authority: String,
        owner: Int32,
        on eventLoop: any EventLoop,
        logger: Logger,
        startLimit: Duration = .seconds(30)
    ) {
        self.screen = screen
        self.authority = authority
        self.owner = owner
        self.eventLoop = eventLoop
        self.logger = logger
        self.startLimit = startLimit
        self.ready = eventLoop.makePromise()
        self.stopping = eventLoop.makePromise()
        self.finished = eventLoop.makePromise()
    }

    var phase: Phase { self.current.withLockedValue { $0 } }

    var isRunning: Bool { if case .running = self.phase { true } else { false } }

    /// Waits until programs can connect.
    /// - Returns: the number of the display.
    /// - Throws: `CancellationError`, also where it has been stopped meanwhile; ``ModuleError``: `missing`, `start` with Xvfb's own words, `system`.
    func number() async throws -> Int { try await self.ready.futureResult.valueUnlessCancelled() }

    /// Has it end, without waiting for that.
    func giveUp() { self.stopping.succeed() }

    /// Has it end, and waits until it has.
    func stop() async throws {
        self.giveUp()
        try await self.finished.futureResult.valueUnlessCancelled()
    }

    /// Runs it until it is stopped, its owner has ended, or the task is cancelled.
    func run() async {
        do {
            let ((end, lines), exit) = try await ManagedProcess.run(self.command, on: self.eventLoop) { process in
                (try await self.firstEnd(of: process), process.lastLines)
            }
            if let reason = self.reason(end, exit, lines), self.hasEnded(reason) {
                _ = try await self.firstEnd(of: nil)
            }
            self.ready.fail(CancellationError())
        } catch {
            self.ready.fail(error)
        }
        self.stopping.succeed()
        self.finished.succeed()
    }

    private var command: ProcessCommand {
        ProcessCommand(
            executable: "Xvfb",
            arguments: [
                // It takes a number that is free, and tells it when programs can connect.
                "-displayfd", "1",
                "-screen", "0", "\(self.screen.width)x\(self.screen.height)x\(self.screen.depth)",
                "-nolisten", "tcp", "-auth", self.authority,
                // Else it begins anew each time that the last program leaves it.
                "-noreset",
            ],
            environment: ProcessCommand.basicEnvironment,
            standardOutput: .lines { line in
                if let number = Int(line) { self.isReady(number) }
            },
            remedy: "install Debian's package xvfb, or set screen_visible to use the screen that is there"
        )
    }

    private func isReady(_ number: Int) {
        self.current.withLockedValue { $0 = .running(number) }
        self.ready.succeed(number)
    }

    /// Waits for the first of what can end it.
    /// - Parameter process: Xvfb, unless it has ended.
    private func firstEnd(of process: ManagedProcess?) async throws -> End {
        try await withThrowingTaskGroup(of: End?.self) { group in
            defer { group.cancelAll() }
            if let process {
                group.addTask {
                    _ = try await process.exit()
                    return .process
                }
                group.addTask {
                    try await Task.sleep(for: self.startLimit)
                    return self.phase == .starting ? .late : nil
                }
            }
            group.addTask {
                try await ProcessWatch(eventLoop: self.eventLoop).end(of: self.owner)
                return .owner
            }
            group.addTask {
                try await self.stopping.futureResult.valueUnlessCancelled()
                return .stopped
            }
            while let end = try await group.next() {
                if let end { return end }
            }
            return .stopped
        }
    }

    /// Why it has ended, if nobody wanted it to.
    private func reason(_ end: End, _ exit: ProcessExit, _ lines: [String]) -> String? {
        // The number of the display is among them.
        let words = lines.filter { !$0.isEmpty && Int($0) == nil }.joined(separator: " / ")
        let said = words.isEmpty ? "it said nothing" : "its last words: \(words)"
        return switch end {
        case .process: "Xvfb has ended (\(exit)); \(said)"
        case .late: "Xvfb was not ready within \(self.startLimit); \(said)"
        case .owner, .stopped: nil
        }
    }

    /// - Returns: whether it had been of use, so that its owner is still to be told.
    private func hasEnded(_ reason: String) -> Bool {
        let wasRunning = self.current.withLockedValue { phase in
            defer { phase = .ended(reason) }
            return phase != .starting
        }
        if wasRunning {
            self.logger.error("a virtual screen has ended by itself", metadata: [LogKeys.error: "\(reason)"])
        } else {
            self.ready.fail(ModuleError("start", reason))
        }
        return wasRunning
    }
}
