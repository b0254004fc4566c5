import JSON

/// What a worker knows of its neighbours from their events, and the elections that it takes part in (`celery/worker/consumer/gossip.py`;
/// `celery/events/state.py`, `Worker`).
///
/// In an election each worker that is told of it publishes itself as a candidate; each that hears a candidate acknowledges it; and whoever has as many
/// acknowledgements as it knows neighbours takes the candidate with the lowest clock as the elected one, who acts. A worker without neighbours elects itself.
///
/// A value type with no clock of its own and no I/O: events in, actions out.
struct Gossip: Sendable {
    /// A worker that offers to do what an election is about.
    struct Candidate: Sendable, Equatable {
        /// Of its event.
        var clock: Int64
        /// Its node and the number of its process.
        var process: String
        /// What kind of thing is to be done; Celery knows `task`.
        var topic: String
        var action: JSON
    }

    enum Action: Sendable, Equatable {
        /// The logical clock is to be set; `nil` is one step.
        case adjustClock(to: Int64?)
        case joined(node: String)
        case left(node: String)
        case missedHeartbeat(node: String)
        /// Publish `worker-elect-ack`.
        case acknowledge(election: String)
        /// This worker is to act.
        case won(Candidate, election: String)
        case elected(process: String, election: String)
    }

    private struct Neighbour {
        /// When its last event came, and how long until the next one is overdue, in seconds.
        var heardAt: Double
        var patience: Double

        func isAlive(now: Double) -> Bool { now < self.heardAt + self.patience }
    }

    private struct Election {
        var began: Double
        var candidates: [Candidate] = []
        /// Who has acknowledged; `nil` until this worker is told to hold the election.
        var acknowledgements: [String]?
    }

    /// How many heartbeats a neighbour may miss (`HEARTBEAT_EXPIRE_WINDOW`).
    private static let patience = 2.0
    /// What is not decided by then, in seconds, never will be.
    private static let electionLimit = 60.0
    private static let electionCountLimit = 1000

    private let node: String
    private let process: String
    private var neighbours: [String: Neighbour] = [:]
    private var elections: [String: Election] = [:]

    init(node: String, pid: Int32) {
        self.node = node
        self.process = "\(node).\(pid)"
    }

    var nodes: [String] { self.neighbours.keys.sorted() }

    /// - Parameter now: seconds on a clock that never goes back.
    mutating func received(_ event: GossipEvent, now: Double) -> [Action] {
        switch event {
        case .elect(let candidate, let id):
            self.election(id, now: now) { $0.candidates.append(candidate) }
            return [.acknowledge(election: id)] + self.decide(id, now: now)
        case .acknowledged(let node, let id):
            self.elections[id]?.acknowledgements?.append(node)
            return self.decide(id, now: now)
        case .alive(self.node, _, _, _), .offline(self.node, _):
            return [.adjustClock(to: nil)]
        case .offline(let node, let clock):
            self.neighbours[node] = nil
            return [.adjustClock(to: clock), .left(node: node)]
        case .alive(let node, let isOnline, let clock, let frequency):
            let isNew = self.neighbours[node] == nil
            self.neighbours[node] = Neighbour(heardAt: now, patience: frequency * Self.patience)
            return [.adjustClock(to: clock)] + (isNew || isOnline ? [.joined(node: node)] : [])
        }
    }

    /// Forgets who has fallen silent; to be called every few seconds.
    mutating func tick(now: Double) -> [Action] {
        let silent = self.neighbours.filter { !$0.value.isAlive(now: now) }.keys.sorted()
        for node in silent { self.neighbours[node] = nil }
        self.elections = self.elections.filter { now < $0.value.began + Self.electionLimit }
        return silent.map { .missedHeartbeat(node: $0) }
    }

    /// This worker is told of an election; it is then to publish itself as a candidate.
    mutating func hold(_ id: String, now: Double) {
        self.election(id, now: now) { $0.acknowledgements = [] }
    }

    private mutating func election(_ id: String, now: Double, _ change: (inout Election) -> Void) {
        guard self.elections[id] != nil || self.elections.count < Self.electionCountLimit else { return }
        change(&self.elections[id, default: Election(began: now)])
    }

    private mutating func decide(_ id: String, now: Double) -> [Action] {
        guard let election = self.elections[id], let acknowledgements = election.acknowledgements,
            acknowledgements.count >= max(1, self.neighbours.values.count { $0.isAlive(now: now) }),
            let leader = election.candidates.min(by: { ($0.clock, $0.process) < ($1.clock, $1.process) })
        else { return [] }
        self.elections[id] = nil
        return leader.process == self.process
            ? [.won(leader, election: id)] : [.elected(process: leader.process, election: id)]
    }
}
