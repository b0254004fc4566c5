/// How the Python processes are started.
public struct PoolConfiguration: Sendable {
    /// The interpreter: a path, not a name to be looked up.
    public var python: String
    /// The folder that holds the package `armada_agent`.
    public var runtime: String
    /// The whole environment of the main process.
    public var environment: [String: String]
    /// Arguments for the interpreter itself, before the program.
    public var interpreterArguments: [String]
    /// Where the Python processes' standard output and error go.
    public var output: Output
    /// Descriptors that the Python processes inherit, from 5 on; those who fork from them inherit them too.
    public var inherited: [Int32]
    /// Jobs in the hands of a busy worker, with the one that it runs: 1 to hand over nothing in advance.
    public var depth: Int
    /// How long a worker may take to be ready, heavy imports and all, before it is killed and replaced.
    public var readyDeadline: Duration
    /// How long a worker that has nothing else to do may leave a job unread before it is killed and replaced; up to twice as long.
    public var readDeadline: Duration
    /// How long the main process may take for a call, or to fork a worker, before it is asked what holds it up; up to twice as long.
    public var answerDeadline: Duration
    /// How long a job that is terminated may take to end before its worker is killed. Billiard gives it as long (`TERM`, 0.1 s, `KILL`).
    public var terminationGrace: Duration
    /// How long the frames of a worker that has ended are waited for when something keeps its stream open.
    public var drainGrace: Duration

    /// What becomes of a line that a Python process writes.
    public enum Output: Sendable {
        /// It is reported as ``PoolEvent/output(_:)``.
        case relayed
        /// It goes where this process's own goes.
        case inherited
    }

    public init(
        python: String,
        runtime: String,
        environment: [String: String],
        interpreterArguments: [String] = [],
        output: Output = .relayed,
        inherited: [Int32] = [],
        depth: Int = 4,
        readyDeadline: Duration = .seconds(600),
        readDeadline: Duration = .seconds(10),
        answerDeadline: Duration = .seconds(5),
        terminationGrace: Duration = .milliseconds(100),
        drainGrace: Duration = .milliseconds(250)
    ) {
        self.python = python
        self.runtime = runtime
        self.environment = environment
        self.interpreterArguments = interpreterArguments
        self.output = output
        self.inherited = inherited
        self.depth = depth
        self.readyDeadline = readyDeadline
        self.readDeadline = readDeadline
        self.answerDeadline = answerDeadline
        self.terminationGrace = terminationGrace
        self.drainGrace = drainGrace
    }
}
