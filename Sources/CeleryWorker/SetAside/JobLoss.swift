import Celery
import JSON
import PythonPool

/// How a job has cost its Python process.
enum JobLoss: Sendable, Equatable {
    /// The process has died.
    case died(WorkerExit)
    /// It was killed at the job's hard time limit, in seconds.
    case hardLimit(Double)

    var ending: JobEnding {
        switch self {
        case .died: .workerLost
        case .hardLimit: .timedOut
        }
    }

    /// For whoever finds the message set aside.
    var reason: String {
        switch self {
        case .died(let exit): "\(exit.exit)"
        case .hardLimit(let limit): "hard time limit of \(PythonRepr.value(.number(limit))) s"
        }
    }

    /// The exception that Celery's parent process stores for it.
    func error(job id: Job.ID) -> (type: String, arguments: [JSON]) {
        switch self {
        case .died(let exit):
            ("WorkerLostError", [.string("Worker exited prematurely: \(exit.exit) Job: \(id).")])
        case .hardLimit(let limit):
            // Projects write whole seconds as integers.
            ("TimeLimitExceeded", [JSON.number(limit)])
        }
    }

    /// Whether a message can come back time after time for this. A worker that was to end says nothing of its message.
    func isAttempt(under options: TaskOptions) -> Bool {
        if case .died(let exit) = self, exit.expected { return false }
        return Ledger.settlement(of: self.ending, options: options) == .reject(requeue: true)
    }
}
