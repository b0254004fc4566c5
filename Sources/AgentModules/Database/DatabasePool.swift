import Glibc
import NIOConcurrencyHelpers
import NIOPosix

/// The connections that all workers share, and the threads that wait for the server.
final class DatabasePool: Sendable {
    typealias Book = LeaseBook<SQLConnection>

    private struct State: Sendable {
        var book: Book
        var waiters: [Int: CheckedContinuation<Book.Grant?, Never>] = [:]
        var lastWaiter = 0
        var threads: NIOThreadPool?
    }

    private let state: NIOLockedValueBox<State>
    private let capacity: Int
    private let idleTime: Duration
    private let becameIdle: AsyncStream<Void>
    private let becameIdleContinuation: AsyncStream<Void>.Continuation

    /// - Parameter idleTime: after which a connection that nobody uses is closed.
    init(capacity: Int, idleTime: Duration) {
        self.capacity = capacity
        self.idleTime = idleTime
        self.state = NIOLockedValueBox(State(book: Book(capacity: capacity)))
        (self.becameIdle, self.becameIdleContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Waits in turn for a connection, or for leave to open one.
    /// - Returns: `nil` when none was free in time, or the task was cancelled.
    func lease(within limit: Duration) async -> Book.Grant? {
        let waiter = self.state.withLockedValue { state in
            state.lastWaiter += 1
            return state.lastWaiter
        }
        return await withTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                // A cancelled sleep is the end of the waiting, too.
                try? await Task.sleep(for: limit)
                self.giveUp(waiter)
            }
            return await withCheckedContinuation { continuation in
                let grant = self.state.withLockedValue { state in
                    let grant = state.book.lease(waiter)
                    if grant == nil { state.waiters[waiter] = continuation }
                    return grant
                }
                if let grant { continuation.resume(returning: grant) }
            }
        }
    }

    private func giveUp(_ waiter: Int) {
        let continuation = self.state.withLockedValue { state in
            state.book.giveUp(waiter) ? state.waiters.removeValue(forKey: waiter) : nil
        }
        continuation?.resume(returning: nil)
    }

    /// - Parameter connection: clean, or `nil` where it was closed or could not be opened.
    func giveBack(_ connection: SQLConnection?) {
        let (next, isAnyIdle) = self.state.withLockedValue { state in
            let turn = state.book.giveBack(connection, at: Self.now)
            let continuation = turn.flatMap { state.waiters.removeValue(forKey: $0.waiter) }
            return (turn.flatMap { turn in continuation.map { ($0, turn.grant) } }, state.book.isAnyIdle)
        }
        next?.0.resume(returning: next?.1)
        if isAnyIdle { self.becameIdleContinuation.yield() }
    }

    /// Runs what blocks on a thread of the pool's, to its end, also in a task that is cancelled.
    func blocking<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async -> Result {
        let threads = self.state.withLockedValue { state in
            if let threads = state.threads { return threads }
            let threads = NIOThreadPool(numberOfThreads: self.capacity)
            threads.start()
            state.threads = threads
            return threads
        }
        return await withCheckedContinuation { continuation in
            threads.submit { _ in continuation.resume(returning: body()) }
        }
    }

    /// Closes connections that nobody has used for a while, until it is cancelled, and then all.
    func run() async {
        for await _ in self.becameIdle {
            while self.state.withLockedValue({ $0.book.isAnyIdle }) {
                guard (try? await Task.sleep(for: self.idleTime)) != nil else { break }
                await self.close(idleSince: Self.now - self.idleTime.components.seconds * 1000)
            }
        }
        await self.close(idleSince: .max)
    }

    private func close(idleSince time: Int64) async {
        let connections = self.state.withLockedValue { $0.book.takeIdle(since: time) }
        guard !connections.isEmpty else { return }
        await self.blocking { for connection in connections { connection.close() } }
    }

    /// Milliseconds of the monotonic clock.
    private static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
