import CPool
import DequeModule
import Glibc
public import Logging
public import NIOCore
import NIOPosix
import Spawning

/// A Python main process with the user's code, and the workers that it forks.
///
/// Everything happens on one event loop; `onEvent` is called there, synchronously. `submit` and the results take no
/// task, hop or lock. A job given to ``submit(_:)`` ends exactly once: as ``PoolEvent/finished(job:pid:outcome:runtime:waited:)``, as
/// ``PoolEvent/lost(job:_:)``, or by being withdrawn.
public actor PythonPool {
    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        eventLoop.executor.asUnownedSerialExecutor()
    }

    enum Phase {
        case idle
        case running
        /// Workers are ending.
        case draining
        /// The main process is ending.
        case ending
        case ended
    }

    nonisolated let eventLoop: any EventLoop
    let configuration: PoolConfiguration
    let logger: Logger
    let onEvent: @Sendable (PoolEvent) -> Void

    var phase = Phase.idle
    var machine: PoolMachine
    var jobs: [UInt64: PoolJob] = [:]
    /// By slot: the live worker there.
    var links: [WorkerLink?] = []
    /// Pipes and streams that outlive their worker, until what holds them is gone.
    var channels: [ObjectIdentifier: any Channel] = [:]

    var main: MainProcess?
    var control: (any Channel)?
    var controlDecoder = FrameDecoder(limit: 256 << 20)
    /// Frames for the main process that wait for its channel.
    var earlyFrames = ByteBuffer()
    /// The lines of the pipes that are open.
    var lines: [ByteSource: LineSplitter] = [:]
    var mainExit: ProcessExit?
    var failure: PoolError?
    var bootedAt: UInt64?

    var loading: CheckedContinuation<ByteBuffer, any Error>?
    var calls: [UInt64: PendingCall] = [:]
    var mainWatch = MainWatch.fine
    var mainTimer: Scheduled<Void>?
    var lastCall: UInt64 = 0
    var runWaiter: CheckedContinuation<Void, Never>?
    var shutdownWaiters: [CheckedContinuation<Void, Never>] = []
    var timer: Scheduled<Void>?
    var timerDeadline: UInt64 = .max
    var timerStale = false
    var endTimer: Scheduled<Void>?

    var prefix = ByteBuffer()
    var pumping = false

    /// - Parameter onEvent: Called on `eventLoop`; may call the pool's synchronous methods by `assumeIsolated`.
    public init(
        configuration: PoolConfiguration,
        eventLoop: any EventLoop,
        logger: Logger,
        onEvent: @escaping @Sendable (PoolEvent) -> Void
    ) {
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.logger = logger
        self.onEvent = onEvent
        var limits = PoolMachine.Limits()
        limits.depth = max(1, configuration.depth)
        limits.readyDeadline = configuration.readyDeadline.nanoseconds
        limits.readDeadline = configuration.readDeadline.nanoseconds
        machine = PoolMachine(limits: limits)
    }

    // MARK: Life

    /// Starts the main process and supervises it until ``shutdown(deadline:)`` has ended it. Cancellation kills all at once.
    ///
    /// - Throws: ``PoolError`` when the process can't be started or ends by itself.
    public func run() async throws {
        guard phase == .idle else { throw PoolError.notRunning }
        phase = .running
        do {
            try startMain()
        } catch {
            phase = .ended
            failWaiters(error)
            throw error
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                runWaiter = continuation
                if phase == .ended { finishRun() }
            }
        } onCancel: {
            eventLoop.execute { self.assumeIsolated { $0.killEverything() } }
        }
        if let failure { throw failure }
    }

    /// Loads the user's code. Waits for as long as that takes.
    ///
    /// - Parameter request: JSON, as `armada_agent/runtime/load.py` reads it.
    /// - Returns: The manifest, JSON.
    /// - Throws: ``LoadFailure`` when the code can't be run; ``PoolError``.
    public func load(_ request: ByteBuffer) async throws -> ByteBuffer {
        guard phase == .idle || phase == .running, loading == nil else { throw PoolError.notRunning }
        return try await withCheckedThrowingContinuation { continuation in
            loading = continuation
            sendControl(.load) { $0.writeImmutableBuffer(request) }
        }
    }

    /// Has so many workers run from now on; the code has to be loaded.
    ///
    /// - Parameter readyDeadline: How long each may take to be ready; by default, as the configuration has it.
    public func startWorkers(_ count: Int, readyDeadline: Duration? = nil) {
        if let readyDeadline { machine.limits.readyDeadline = readyDeadline.nanoseconds }
        resize(to: count)
    }

    /// Changes the number of workers. Of too many, idle ones leave first, busy ones after their job.
    public func resize(to count: Int) {
        guard phase == .running else { return }
        machine.resize(to: count, now: System.now)
        machine.feed(now: System.now)
        pump()
    }

    /// Has so many more workers run.
    public func grow(by count: Int) {
        resize(to: machine.wanted + max(0, count))
    }

    /// Ends so many workers that have no job.
    ///
    /// - Throws: ``PoolError/allBusy`` when there were not as many: those that there were have been ended, as billiard's `Pool.shrink` does.
    public func shrink(by count: Int) throws(PoolError) {
        guard phase == .running else { throw .notRunning }
        let leaving = machine.shrink(by: count, now: System.now)
        pump()
        if leaving < count { throw .allBusy }
    }

    /// Imports modules in the main process, then replaces all workers: those without a job at once, the others when their job has ended.
    ///
    /// - Parameter request: JSON, as `armada_agent/runtime/reloading.py` reads it: `modules` and `reload`.
    /// - Returns: The manifest as it is now, JSON.
    /// - Throws: ``LoadFailure`` when a module can't be imported: no worker is replaced then. ``PoolError``.
    public func restart(_ request: ByteBuffer) async throws -> ByteBuffer {
        guard phase == .running, loading == nil else { throw PoolError.notRunning }
        let manifest = try await withCheckedThrowingContinuation { continuation in
            loading = continuation
            sendControl(.reload) { $0.writeImmutableBuffer(request) }
        }
        machine.restart(now: System.now)
        machine.feed(now: System.now)
        pump()
        return manifest
    }

    /// Lets the workers finish the jobs that they run, fires `worker_process_shutdown` in them, and ends all processes.
    ///
    /// Jobs that no worker has begun stay in the pool: withdraw them first. Returns when no process is left.
    ///
    /// - Parameter deadline: After this, workers are killed and their jobs reported as lost.
    public func shutdown(deadline: Duration) async {
        guard phase == .running || phase == .draining || phase == .ending else { return }
        if phase == .running {
            phase = .draining
            machine.stop(now: System.now)
            pump()
            endTimer = eventLoop.scheduleTask(in: deadline.timeAmount) {
                self.assumeIsolated { $0.killWorkers() }
            }
            advanceShutdown()
        }
        await withCheckedContinuation { continuation in
            if phase == .ended { continuation.resume() } else { shutdownWaiters.append(continuation) }
        }
    }

    // MARK: Jobs

    /// Gives a job to the pool: to an idle worker at once, else behind a busy one, from where it can be taken back.
    public func submit(_ job: PoolJob) {
        let now = System.now
        var job = job
        job.submittedAt = now
        jobs[job.id] = job
        machine.submit(job.id, now: now)
        pump()
    }

    /// Takes a job back that no worker has begun. False if one has, or the pool doesn't have it.
    public func withdraw(_ id: UInt64) -> Bool {
        if case .sent(let slot) = machine.place(of: id) { returnUnread(slot: slot) }
        let removed = machine.removeQueued(id)
        if removed { jobs[id] = nil }
        machine.feed(now: System.now)
        pump()
        return removed
    }

    /// Takes all jobs back that no worker has begun.
    public func withdrawAll() -> [UInt64] {
        for slot in machine.workers.indices { returnUnread(slot: slot) }
        let removed = machine.removeAllQueued()
        for id in removed { jobs[id] = nil }
        pump()
        return removed
    }

    /// Sends a signal to the worker that runs a job, and makes sure that it meets no other job. False if none runs it.
    @discardableResult
    public func kill(job: UInt64, signal: Int32) -> Bool {
        if case .sent(let slot) = machine.place(of: job) { returnUnread(slot: slot) }
        defer {
            machine.feed(now: System.now)
            pump()
        }
        guard let key = machine.condemn(job), let link = link(key) else { return false }
        return link.signal(signal)
    }

    /// Ends a job with the worker that runs it: by `signal`, and by SIGKILL if the worker is still there after `grace`. False if none runs it.
    ///
    /// The end is told as ``PoolEvent/lost(job:_:)``, with ``WorkerExit/Cause/terminated``, unless the job finishes before. What the job has
    /// started ends with it if it is in a process group of the worker's own.
    ///
    /// - Parameters:
    ///   - signal: One that ends a process. For another, such as the SIGUSR1 of a soft time limit, there is ``kill(job:signal:)``.
    ///   - grace: By default, as the configuration has it.
    @discardableResult
    public func terminate(job: UInt64, signal: Int32 = SIGTERM, grace: Duration? = nil) -> Bool {
        if case .sent(let slot) = machine.place(of: job) { returnUnread(slot: slot) }
        let now = System.now
        let nanoseconds = (grace ?? configuration.terminationGrace).nanoseconds
        let isRunning = machine.terminate(job, signal: signal, grace: nanoseconds, now: now)
        machine.feed(now: now)
        pump()
        return isRunning
    }

    /// Sends a signal to a worker. False if there is none of that index (1 for the first).
    @discardableResult
    public func kill(worker index: Int, signal: Int32) -> Bool {
        guard links.indices.contains(index - 1), let link = links[index - 1] else { return false }
        return link.signal(signal)
    }

    // MARK: Facts

    /// The workers in order.
    public var workers: [WorkerStatus] {
        machine.workers.compactMap { worker in
            let state: WorkerStatus.State
            switch worker.phase {
            case .absent: return nil
            case .waiting, .exited: state = .gone
            case .starting: state = .starting
            case .ready: state = worker.jobs.isEmpty ? .idle : .busy
            case .stopping: state = .stopping
            }
            return WorkerStatus(
                index: worker.key.slot + 1,
                pid: worker.pid,
                state: state,
                currentJob: worker.jobs.first,
                startedAt: worker.startedAt,
                waiting: max(0, worker.jobs.count - 1),
                finished: worker.finished
            )
        }
    }

    /// How many workers are wanted.
    public var size: Int { machine.wanted }
    /// The main process, 0 before it runs.
    public var mainPid: Int32 { main?.pid ?? 0 }
}
