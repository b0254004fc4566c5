public import Spawning

/// Why the pool can't do what it is asked to.
public enum PoolError: Error, Sendable, CustomStringConvertible {
    /// A system call failed: which, and its `errno`.
    case system(call: String, errno: Int32)
    /// The main process ended, or ends.
    case mainExited(ProcessExit)
    /// The pool isn't running.
    case notRunning
    /// A Python process sent what makes no sense.
    case protocolViolation(String)
    /// A call failed in Python: the exception's type and text.
    case callFailed(kind: String, message: String)
    case deadlineExceeded(method: String)
    /// Fewer workers were idle than were to leave: billiard's `ValueError`, in its words.
    case allBusy

    public var description: String {
        switch self {
        case .system(let call, let number): "\(call) failed: errno \(number)"
        case .mainExited(let exit): "the Python main process ended: \(exit)"
        case .notRunning: "the Python pool isn't running"
        case .protocolViolation(let what): "a Python process sent \(what)"
        case .callFailed(let kind, let message): "the call failed in Python: \(kind): \(message)"
        case .allBusy: "Can't shrink pool. All processes busy!"
        case .deadlineExceeded(let method): "no answer to \(method) in time"
        }
    }
}

extension PoolError {
    init(_ failure: SystemCallFailure) { self = .system(call: failure.call, errno: failure.number) }
}

/// The user's code can't be run.
public struct LoadFailure: Error, Sendable, Hashable, CustomStringConvertible {
    /// `syntax_error`, `import_error`, `exception`, `system_exit`, or `invalid`: the request itself is wrong.
    public var kind: String
    /// One line.
    public var message: String
    /// Python's traceback from the user's own lines on; may be empty.
    public var traceback: String

    public init(kind: String, message: String, traceback: String) {
        self.kind = kind
        self.message = message
        self.traceback = traceback
    }

    public var description: String { "\(kind): \(message)" }
}
