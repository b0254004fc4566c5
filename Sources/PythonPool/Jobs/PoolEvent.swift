public import Spawning

/// What the pool tells its owner, synchronously and on the event loop.
public enum PoolEvent: Sendable {
    /// A job submitted with ``PoolJob/Flags/reportsStart`` has been taken up.
    case started(job: UInt64, pid: Int32)
    /// A job has ended; `runtime` is in seconds, by Celery's tracer (0 when it didn't run), and `waited` those that it waited for its worker before.
    case finished(job: UInt64, pid: Int32, outcome: PoolOutcome, runtime: Double, waited: Double)
    /// The job that a worker was running when it died. Jobs that it had not begun go to other workers.
    case lost(job: UInt64, WorkerExit)
    case workerReady(pid: Int32, index: Int)
    case workerExited(WorkerExit)
    case output(PoolOutput)
    /// The main process ended without being told to. `run()` throws after this.
    case mainExited(ProcessExit)
    /// No job is in the pool any more.
    case idle
}

/// How a job ended, with what Celery's parent process is told of it.
public enum PoolOutcome: Sendable, Equatable {
    /// `result` is the representation of the returned value; empty when the tracer gave none.
    case success(result: String)
    /// The task failed. Celery's tracer has stored the failure if `stored`; otherwise it was never reached (the body
    /// couldn't be decoded, or the process ran out of memory), and the parent has to store it.
    case failure(PoolFailure, stored: Bool)
    /// The task asked to be tried again, and the retry has been published. `error` is its reason.
    case retry(PoolFailure)
    case ignore
    case reject(requeue: Bool, PoolFailure)
    /// The body could not be decoded, so the task was not begun.
    case undecodable(reason: String)
    /// The body is of a shape that no Celery client writes, so the task was not begun.
    case malformed(reason: String)
}

/// A Python exception as text.
public struct PoolFailure: Sendable, Equatable {
    /// `repr` of the exception.
    public var representation: String
    /// The name of its type.
    public var type: String
    /// The formatted traceback.
    public var traceback: String
    /// When a retry is due, as Celery words it: seconds, or a date; else empty.
    public var when: String

    public init(representation: String, type: String, traceback: String, when: String = "") {
        self.representation = representation
        self.type = type
        self.traceback = traceback
        self.when = when
    }
}

/// The end of a worker process.
public struct WorkerExit: Sendable, Hashable {
    /// Why a worker has ended.
    public enum Cause: Sendable, Hashable {
        /// By itself, or by another's hand: it crashed, left, or was killed by the system.
        case unasked
        /// The pool stops, gets smaller, or has its workers replaced.
        case retired
        /// It had run its number of tasks, or grown too large (`max_tasks_per_child`, `max_memory_per_child`).
        case recycled
        /// Its job was to end: ``PythonPool/terminate(job:signal:grace:)``.
        case terminated
        /// It was not ready in time, and was killed.
        case notReady
        /// It didn't read its job in time, and was killed.
        case unresponsive
    }

    public var pid: Int32
    /// 1 for the first worker.
    public var index: Int
    public var exit: ProcessExit
    public var cause: Cause

    public init(pid: Int32, index: Int, exit: ProcessExit, cause: Cause) {
        self.pid = pid
        self.index = index
        self.exit = exit
        self.cause = cause
    }

    /// Whether the pool, or a limit, asked for it.
    public var expected: Bool {
        switch cause {
        case .retired, .recycled, .terminated: true
        case .unasked, .notReady, .unresponsive: false
        }
    }
}

/// Text that a Python process wrote.
public struct PoolOutput: Sendable, Hashable {
    /// Where it was written to.
    public enum Stream: Sendable, Hashable {
        case standardOutput
        case standardError
        /// Python's logging, with the record's level (10 debug … 50 critical).
        case log(level: Int)
    }

    /// The job that ran then, if one did.
    public var job: UInt64?
    public var pid: Int32
    /// The worker's index, 0 for the main process.
    public var index: Int
    public var stream: Stream
    /// One line without its end; a log record may hold several.
    public var text: String

    public init(job: UInt64?, pid: Int32, index: Int, stream: Stream, text: String) {
        self.job = job
        self.pid = pid
        self.index = index
        self.stream = stream
        self.text = text
    }
}

/// What one worker is doing.
public struct WorkerStatus: Sendable, Hashable {
    public enum State: Sendable, Hashable, CaseIterable {
        case starting
        case idle
        case busy
        /// It ends after the job that it runs.
        case stopping
        /// It has ended and waits to be replaced.
        case gone
    }

    public var index: Int
    /// 0 until it is known.
    public var pid: Int32
    public var state: State
    /// The job that it runs.
    public var currentJob: UInt64?
    /// When that began: CLOCK_MONOTONIC in nanoseconds, as `NIODeadline` has it.
    public var startedAt: UInt64
    /// Jobs handed over behind the current one; they can still be withdrawn.
    public var waiting: Int
    /// Jobs finished by the workers of this index.
    public var finished: Int

    public init(
        index: Int,
        pid: Int32,
        state: State,
        currentJob: UInt64?,
        startedAt: UInt64,
        waiting: Int,
        finished: Int
    ) {
        self.index = index
        self.pid = pid
        self.state = state
        self.currentJob = currentJob
        self.startedAt = startedAt
        self.waiting = waiting
        self.finished = finished
    }
}
