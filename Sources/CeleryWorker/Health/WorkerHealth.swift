/// Whether a worker works, as an orchestrator asks.
public struct WorkerHealth: Sendable, Equatable {
    public var nodeName: String
    public var phase: Worker.Phase
    public var hasProject: Bool
    public var isConnected: Bool
    /// The queues that it consumes from.
    public var queues: [String]
    /// The queues that it should consume from and does not.
    public var missingQueues: [String]

    public init(
        nodeName: String,
        phase: Worker.Phase,
        hasProject: Bool,
        isConnected: Bool,
        queues: [String] = [],
        missingQueues: [String] = []
    ) {
        self.nodeName = nodeName
        self.phase = phase
        self.hasProject = hasProject
        self.isConnected = isConnected
        self.queues = queues
        self.missingQueues = missingQueues
    }

    /// Whether it has consumed at least once.
    public var hasStarted: Bool { self.phase > .starting }

    /// Whether it takes jobs.
    public var isReady: Bool { self.obstacles.isEmpty }

    /// Why it takes no jobs, one sentence each; empty if it does. Without secrets.
    public var obstacles: [String] {
        switch self.phase {
        case .draining, .softening: return ["shutting down: running jobs may end, no further one is started"]
        case .stopping: return ["shutting down at once: running jobs are ended"]
        case .starting, .running: break
        }
        var obstacles: [String] = []
        if !self.hasProject { obstacles.append("the project is not loaded") }
        if !self.isConnected { obstacles.append("there is no session with the broker") }
        if self.isConnected {
            obstacles += self.missingQueues.map { "the queue '\($0)' is not consumed" }
        }
        if obstacles.isEmpty, self.phase == .starting { obstacles.append("the worker is starting") }
        return obstacles
    }
}
