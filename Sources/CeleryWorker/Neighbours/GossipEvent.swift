import JSON
import NIOCore

/// An event that a worker publishes of itself, as far as its neighbours look at it.
enum GossipEvent: Sendable, Equatable {
    /// It is there: `worker-online`, `worker-heartbeat`. `frequency` is in seconds.
    case alive(node: String, isOnline: Bool, clock: Int64?, frequency: Double)
    case offline(node: String, clock: Int64?)
    /// It asks all for their voice: `worker-elect`.
    case elect(Gossip.Candidate, election: String)
    /// It has heard a candidate: `worker-elect-ack`.
    case acknowledged(node: String, election: String)

    /// Why a message is no event.
    struct Problem: Error, Sendable, Equatable, CustomStringConvertible {
        var description: String
    }

    /// - Parameters:
    ///   - routingKey: the event's type, with dots.
    ///   - sender: the header `hostname`; events without it have it in the body.
    init(routingKey: String, sender: String?, body: ByteBuffer) throws(Problem) {
        let event: JSON
        do throws(JSONError) {
            event = try JSON(parsing: body)
        } catch {
            throw Problem(description: error.description)
        }
        func text(_ field: String) throws(Problem) -> String {
            guard let text = event[field]?.string else {
                throw Problem(description: "\(routingKey) without '\(field)'")
            }
            return text
        }
        func node() throws(Problem) -> String {
            if let sender { return sender }
            return try text("hostname")
        }
        let clock = event["clock"]?.int.map(Int64.init)
        switch routingKey {
        case "worker.elect":
            guard let clock, let pid = event["pid"]?.int, event["cver"] != nil, let action = event["action"] else {
                throw Problem(description: "worker.elect without 'clock', 'pid', 'cver' or 'action'")
            }
            let candidate = Gossip.Candidate(
                clock: clock,
                process: "\(try text("hostname")).\(pid)",
                topic: try text("topic"),
                action: action
            )
            self = .elect(candidate, election: try text("id"))
        case "worker.elect.ack":
            self = .acknowledged(node: try text("hostname"), election: try text("id"))
        case "worker.offline":
            self = .offline(node: try node(), clock: clock)
        default:
            self = .alive(
                node: try node(),
                isOnline: routingKey == "worker.online",
                clock: clock,
                frequency: event["freq"]?.double ?? 60
            )
        }
    }
}
