import JSON
public import Logging
public import NIOCore
import NIOHTTP1
import NIOPosix

/// Keeps what the backend is to be told on disk, and delivers it: in order for each job, until the backend has it or refuses it for good, over restarts of the agent.
public actor Outbox {
    /// What became of an attempt to deliver a message.
    enum Attempt: Sendable {
        case delivered
        /// For good; why.
        case refused(String)
        case again(String)
    }

    public nonisolated let eventLoop: any EventLoop
    public nonisolated var unownedExecutor: UnownedSerialExecutor { self.eventLoop.executor.asUnownedSerialExecutor() }

    private enum State {
        case unopened
        case open(OutboxFile)
        case failed(ModuleError)
    }

    private let directory: String
    private let logger: Logger
    private var state = State.unopened
    /// Of the journal, as far as it is on the disk.
    private var length: Int64 = 0
    private var lastID: UInt64 = 0
    /// By lane; the first of each is being delivered.
    private var pending: [String: [OutboxEntry]] = [:]
    private var unwritten: [(record: OutboxRecord, kept: CheckedContinuation<Void, any Error>?)] = []
    /// How many entries of each task are pending.
    private var tasks: [String: Int] = [:]
    private var settling: [(task: String, id: UInt64, done: AsyncStream<Void>.Continuation)] = []
    private var hasEnded = false
    /// What it holds, and what has become of the rest.
    public private(set) var counts = OutboxCounts()
    private let writes = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    private let lanes = AsyncStream<String>.makeStream()

    /// - Parameter directory: for this agent alone; made when it is needed.
    public init(directory: String, eventLoop: any EventLoop, logger: Logger) {
        self.directory = directory
        self.eventLoop = eventLoop
        self.logger = logger
    }

    /// Keeps messages for delivery, and returns once they are on the disk.
    /// - Throws: an error of kind `outbox` when they can't be kept.
    func add(lane: String, task: String?, _ messages: [MonitoringMessage]) async throws(ModuleError) {
        try self.open()
        self.lastID &+= 1
        let entry = OutboxEntry(id: self.lastID, lane: lane, task: task, messages: messages)
        do {
            try await withCheckedThrowingContinuation { self.write(.entry(entry), kept: $0) }
        } catch let error as ModuleError {
            throw error
        } catch {
            throw ModuleError("outbox", "\(error)")
        }
    }

    /// Waits until all that `task` has told is delivered, or the time is over.
    public func settle(task: String, within limit: Duration) async {
        guard self.isPending(task) else { return }
        let (done, continuation) = AsyncStream<Void>.makeStream()
        self.lastID &+= 1
        let id = self.lastID
        self.settling.append((task, id, continuation))
        defer { self.settling.removeAll { $0.id == id } }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in done {} }
            group.addTask { try? await Task.sleep(for: limit) }
            await group.next()
            group.cancelAll()
        }
        if self.isPending(task) {
            self.logger.warning(
                "a job is acknowledged before all of its events are delivered; they are kept",
                metadata: [LogKeys.task: "\(task)"]
            )
        }
    }

    /// Delivers until it is cancelled.
    /// - Parameter attempt: sends a message once.
    func run(_ attempt: @escaping @Sendable (MonitoringMessage) async -> Attempt) async {
        do throws(ModuleError) {
            try self.open()
        } catch {
            self.logger.error("events can't be kept for delivery", metadata: [LogKeys.error: "\(error)"])
            return
        }
        await withDiscardingTaskGroup { group in
            group.addTask { await self.writeRecords() }
            for await lane in self.lanes.stream {
                group.addTask { await self.deliver(lane, attempt) }
            }
        }
        self.end()
    }

    private static let ending = ModuleError("outbox", "the event is not kept: the agent ends")

    private func open() throws(ModuleError) {
        switch self.state {
        case .open: return
        case .failed(let error): throw error
        case .unopened: break
        }
        do throws(ModuleError) {
            let (file, records, length) = try OutboxFile.open(self.directory)
            self.state = .open(file)
            self.length = length
            self.restore(records)
        } catch {
            self.state = .failed(error)
            throw error
        }
    }

    private func restore(_ records: [OutboxRecord]) {
        var delivered: Set<UInt64> = []
        for case .delivered(let id) in records { delivered.insert(id) }
        var count = 0
        for case .entry(let entry) in records {
            self.lastID = max(self.lastID, entry.id)
            guard !delivered.contains(entry.id) else { continue }
            self.enqueue(entry)
            count += 1
        }
        if count > 0 {
            self.logger.notice("events of an earlier agent are delivered", metadata: [LogKeys.count: "\(count)"])
        }
    }

    private func enqueue(_ entry: OutboxEntry) {
        self.pending[entry.lane, default: []].append(entry)
        self.counts.waiting += entry.messages.count
        if let task = entry.task { self.tasks[task, default: 0] += 1 }
        if self.pending[entry.lane]?.count == 1 { self.lanes.continuation.yield(entry.lane) }
    }

    private func isPending(_ task: String) -> Bool { self.tasks[task] != nil }
}

// MARK: - Delivering

extension Outbox {
    private func deliver(_ lane: String, _ attempt: @Sendable (MonitoringMessage) async -> Attempt) async {
        while let entry = self.pending[lane]?.first {
            for message in entry.messages {
                guard await self.deliver(message, attempt) else { return }
            }
            self.pending[lane]?.removeFirst()
            if self.pending[lane]?.isEmpty == true { self.pending[lane] = nil }
            // Not waited for: after a crash it is delivered once more, and the backend can tell.
            self.write(.delivered(entry.id), kept: nil)
            if let task = entry.task { self.delivered(task) }
        }
    }

    private func delivered(_ task: String) {
        let left = (self.tasks[task] ?? 1) - 1
        self.tasks[task] = left > 0 ? left : nil
        guard left == 0 else { return }
        for waiter in self.settling where waiter.task == task { waiter.done.finish() }
    }

    /// - Returns: whether the message is done with; `false` when the agent ends.
    private func deliver(
        _ message: MonitoringMessage,
        _ attempt: @Sendable (MonitoringMessage) async -> Attempt
    ) async -> Bool {
        var backoff = RetryBackoff()
        while !Task.isCancelled {
            switch await attempt(message) {
            case .delivered:
                self.counts.waiting -= 1
                self.counts.delivered += 1
                return true
            case .refused(let reason):
                guard await self.bury(message, reason) else { break }
                self.counts.waiting -= 1
                self.counts.refused += 1
                return true
            case .again(let reason):
                let metadata: Logger.Metadata = [LogKeys.error: "\(reason)"]
                if backoff.attempts == 5 { self.logger.warning("events wait for the backend", metadata: metadata) }
            }
            try? await Task.sleep(for: backoff.next())
        }
        return false
    }

    private func bury(_ message: MonitoringMessage, _ reason: String) async -> Bool {
        guard case .open(let file) = self.state else { return false }
        let count = self.counts.refused + 1
        let metadata: Logger.Metadata = [LogKeys.error: "\(reason)", LogKeys.count: "\(count)"]
        self.logger.error("the backend refuses an event for good: it is kept in the file 'refused'", metadata: metadata)
        let content: JSON = [
            "reason": .string(reason), "method": .string(message.method.rawValue), "path": .string(message.path),
            "body": message.body,
        ]
        var line = content.encoded
        line.writeStaticString("\n")
        do {
            let text = line
            try await NIOThreadPool.singleton.runIfActive { try file.bury(text) }
            return true
        } catch {
            self.logger.error("a refused event can't be kept", metadata: [LogKeys.error: "\(error)"])
            return false
        }
    }
}

// MARK: - Writing

extension Outbox {
    private func write(_ record: OutboxRecord, kept: CheckedContinuation<Void, any Error>?) {
        if self.hasEnded {
            kept?.resume(throwing: Self.ending)
            return
        }
        self.unwritten.append((record, kept))
        self.writes.continuation.yield()
    }

    /// Writes what has come in the meantime in one go, so that many callers share one wait for the disk.
    private func writeRecords() async {
        for await _ in self.writes.stream {
            guard case .open(let file) = self.state, !self.unwritten.isEmpty else { continue }
            let batch = self.takeBatch()
            do {
                try await NIOThreadPool.singleton.runIfActive { try batch.write(to: file) }
                self.finish(batch, .success(()))
            } catch is CancellationError {
                // It was not begun.
                self.unwritten = batch.records + self.unwritten
            } catch {
                self.finish(batch, .failure(error))
            }
        }
    }

    /// Writes what is left, when nothing else runs any more; blocks for a moment.
    private func end() {
        self.hasEnded = true
        guard case .open(let file) = self.state else { return }
        let batch = self.takeBatch()
        self.finish(batch, Result { try batch.write(to: file) })
        file.close()
        self.state = .failed(Self.ending)
    }

    private func takeBatch() -> Batch {
        let start = Int64(OutboxRecord.header.readableBytes)
        var batch = Batch(records: self.unwritten, offset: self.length, end: start)
        self.unwritten = []
        // Once nothing is pending, the file begins anew.
        batch.isLast = self.pending.isEmpty && !batch.records.contains { $0.record.isEntry }
        guard !batch.isLast else { return batch }
        for (record, _) in batch.records { record.write(to: &batch.data) }
        batch.end = batch.offset + Int64(batch.data.readableBytes)
        return batch
    }

    private func finish(_ batch: Batch, _ result: Result<Void, any Error>) {
        switch result {
        case .success: self.length = batch.end
        case .failure(let error):
            self.logger.error("events can't be kept for delivery", metadata: [LogKeys.error: "\(error)"])
        }
        for (record, kept) in batch.records {
            // Before anything else is written: while it is pending, the file does not begin anew.
            if case .entry(let entry) = record, case .success = result { self.enqueue(entry) }
            kept?.resume(with: result)
        }
    }

    /// Records that are written together.
    private struct Batch: Sendable {
        var records: [(record: OutboxRecord, kept: CheckedContinuation<Void, any Error>?)]
        var offset: Int64
        /// The journal's length afterwards.
        var end: Int64
        /// Whether nothing is left to be delivered.
        var isLast = false
        var data = ByteBuffer()

        func write(to file: OutboxFile) throws(ModuleError) {
            if self.isLast { try file.truncate(to: self.end) } else { try file.append(self.data, at: self.offset) }
        }
    }
}

extension OutboxRecord {
    fileprivate var isEntry: Bool {
        if case .entry = self { true } else { false }
    }
}
