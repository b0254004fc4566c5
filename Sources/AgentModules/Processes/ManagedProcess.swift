import CPool
import Glibc
import NIOConcurrencyHelpers
public import NIOCore
import NIOPosix
public import Spawning

/// A process that the agent runs and that ends with it, whatever happens to the agent.
///
/// It lives as long as the scope of ``run(_:on:_:)``. It leads a session and a process group of its own; what it has started and left in that group is ended with
/// it.
public final class ManagedProcess: Sendable {
    /// How many lines are kept.
    private static let keptLines = 20
    /// How long an ended process's output is still read where a process outside its group holds it open.
    private static let outputGrace = TimeAmount.seconds(1)

    /// Its number, which names it for as long as the scope lasts.
    public let pid: Int32
    private let eventLoop: any EventLoop
    private let grace: TimeAmount
    /// Succeeds once it has been reaped and its output has been read.
    private let ended: EventLoopPromise<ProcessExit>
    private let state = NIOLockedValueBox(State())

    private struct State {
        var lines: [String] = []
        /// Until it has been reaped its number is its own, and its group's.
        var isReaped = false
    }

    init(pid: Int32, eventLoop: any EventLoop, grace: Duration) {
        self.pid = pid
        self.eventLoop = eventLoop
        self.grace = TimeAmount(grace)
        self.ended = eventLoop.makePromise()
    }

    /// What it wrote last, of the streams that are read by lines: for the text of an error.
    public var lastLines: [String] { self.state.withLockedValue { $0.lines } }

    /// Starts a process, runs `body`, and ends the process: with SIGTERM to its group, and after its grace with SIGKILL. It is also ended at once when the task is
    /// cancelled.
    /// - Returns: what `body` returns, and how the process has ended.
    /// - Throws: what `body` throws; ``ModuleError`` of the kind `missing` where the program can't be started, `system` where the system refuses.
    public static func run<Result: Sendable>(
        _ command: ProcessCommand,
        on eventLoop: any EventLoop,
        _ body: (ManagedProcess) async throws -> Result
    ) async throws -> (result: Result, exit: ProcessExit) {
        try Task.checkCancellation()
        let process = try await self.start(command, on: eventLoop)
        let result: Result
        do {
            result = try await withTaskCancellationHandler {
                try await body(process)
            } onCancel: {
                process.end()
            }
        } catch {
            process.end()
            _ = try await process.ended.futureResult.get()
            throw error
        }
        process.end()
        return (result, try await process.ended.futureResult.get())
    }

    /// Waits until the process has ended and its output has been read.
    /// - Throws: `CancellationError`.
    public func exit() async throws -> ProcessExit {
        try await self.ended.futureResult.valueUnlessCancelled()
    }

    /// Sends a signal to the process itself, if it has not ended.
    public func signal(_ number: Int32) { self.send(number, to: self.pid) }

    private func send(_ number: Int32, to target: Int32) {
        self.state.withLockedValue { state in
            if !state.isReaped { _ = kill(target, number) }
        }
    }

    /// Has the process and its group end, without waiting for that.
    private func end() {
        self.send(SIGTERM, to: -self.pid)
        let kill = self.eventLoop.scheduleTask(in: self.grace) { self.send(SIGKILL, to: -self.pid) }
        self.ended.futureResult.whenComplete { _ in kill.cancel() }
    }
}

// MARK: On the event loop

extension ManagedProcess {
    /// The process dies with the thread that starts it: the event loop's.
    private static func start(_ command: ProcessCommand, on eventLoop: any EventLoop) async throws -> ManagedProcess {
        let path = try command.path()
        return try await eventLoop.submit {
            let streams = [try ProcessStream(command.standardOutput), try ProcessStream(command.standardError)]
            let pid = try command.spawn(path: path, output: streams[0].writing, error: streams[1].writing)
            let process = ManagedProcess(pid: pid, eventLoop: eventLoop, grace: command.grace)
            try process.attend(streams.compactMap { $0.open(for: process, on: eventLoop) })
            return process
        }.get()
    }

    /// Sees to it that the process is reaped.
    private func attend(_ streams: [EventLoopFuture<any Channel>]) throws(ModuleError) {
        do throws(ModuleError) {
            guard let end = try ProcessEnd(of: self.pid, on: self.eventLoop) else { return self.reap(streams) }
            end.future.whenSuccess { self.reap(streams) }
        } catch {
            // Without descriptors for that there is to be no process.
            self.reap(streams)
            throw error
        }
    }

    /// The process has ended, or is to.
    private func reap(_ streams: [EventLoopFuture<any Channel>]) {
        let status = self.state.withLockedValue { state in
            // While it has not been reaped the group's number is its own.
            _ = kill(-self.pid, SIGKILL)
            var status: Int32 = 0
            while waitpid(self.pid, &status, 0) < 0, errno == EINTR {}
            state.isReaped = true
            return status
        }
        let ends = streams.map { stream in
            stream.flatMap { channel in
                let deadline = self.eventLoop.scheduleTask(in: Self.outputGrace) { channel.close(promise: nil) }
                return channel.closeFuture.always { _ in deadline.cancel() }
            }
        }
        EventLoopFuture.andAllComplete(ends, on: self.eventLoop).whenComplete { _ in
            self.ended.succeed(ProcessExit(waitStatus: status))
        }
    }

    func keep(_ line: String) {
        self.state.withLockedValue { state in
            state.lines.append(line)
            if state.lines.count > Self.keptLines { state.lines.removeFirst() }
        }
    }
}
