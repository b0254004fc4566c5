/// What has become of the messages for one task.
public struct TaskStatistics: Sendable, Equatable {
    /// How a task ended, or that it never began.
    public enum State: Int, Sendable, CaseIterable {
        case succeeded
        case failed
        case retried
        case ignored
        case rejected
        /// Ended on request while it ran.
        case terminated
        /// Revoked or expired before it began.
        case revoked

        /// Of how a job ended; `nil` where the message could not be read, so that there was no task.
        init?(_ ending: JobEnding) {
            switch ending {
            case .succeeded: self = .succeeded
            case .failed, .workerLost, .timedOut: self = .failed
            case .retried: self = .retried
            case .ignored: self = .ignored
            case .rejected: self = .rejected
            case .revoked: self = .terminated
            // Its message has gone back to the queue, and the task with it.
            case .republished, .undecodable, .malformed: return nil
            }
        }
    }

    private var counts = [Int](repeating: 0, count: State.allCases.count)
    /// How long it ran where it succeeded, in seconds: Celery's tracer times no other ending.
    public private(set) var runtime = Histogram()

    public init() {}

    public subscript(state: State) -> Int { self.counts[state.rawValue] }

    /// How many have begun and ended.
    public var ended: Int { self.counts.reduce(0, +) - self[.revoked] }

    /// - Parameter runtime: in seconds; `nil` where it is not known.
    public mutating func add(_ state: State, runtime: Double? = nil) {
        self.counts[state.rawValue] += 1
        if let runtime { self.runtime.observe(runtime) }
    }
}
