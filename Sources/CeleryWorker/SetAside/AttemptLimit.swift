import AMQP
import Celery

/// How often a message may be run that costs its Python worker: one that kills it would come back for ever with `reject_on_worker_lost`, one that
/// outlasts its hard time limit without `acks_on_failure_or_timeout`.
///
/// The number is kept in the message, so that all agents of a queue count together, and so the message is replaced by a copy with another
/// number each time. RabbitMQ's own `x-delivery-count` is not used: only quorum queues have it, and it counts agents that stop, too.
struct AttemptLimit: Sendable {
    /// The header with the number of Python workers that a message has lost.
    static let header = "x-armada-lost-workers"
    /// The header of a message set aside that tells how that came about.
    static let reasonHeader = "x-armada-set-aside"

    /// What takes the place of a message.
    enum Copy: Sendable, Equatable {
        /// It goes to the end of its queue, to be run again.
        case again(Message)
        /// It goes to a queue of its own that nobody consumes.
        case aside(Message, QueueDeclaration)

        var message: Message {
            switch self {
            case .again(let message), .aside(let message, _): message
            }
        }

        var queue: QueueDeclaration? {
            switch self {
            case .again: nil
            case .aside(_, let queue): queue
            }
        }
    }

    /// After so many workers that it has cost, a message is set aside.
    var maximum: Int

    /// The name of the queue to which messages of `queue` are set aside.
    static func asideQueue(of queue: String) -> String { "\(queue).set-aside" }

    /// What is to take the place of a message that has cost one more worker; `nil` where it can't be told to which queue that is to go.
    ///
    /// - Parameters:
    ///   - reason: what has ended its worker.
    ///   - node: this worker's name.
    ///   - time: now.
    func copy(of message: TaskMessage, reason: String, node: String, time: EpochSeconds) -> Copy? {
        let queue = message.deliveryInfo.queue
        // A queue's name is a short string.
        guard !queue.isEmpty, Self.asideQueue(of: queue).utf8.count <= 255 else { return nil }
        let before = message.headers[Self.header]?.int ?? 0
        let count = max(0, min(before, .max - 1)) + 1
        var properties = message.properties
        var headers = message.headers
        // RabbitMQ would send copies to the queues that `CC` names, too, and refuses a user that isn't this connection's. Its own count is
        // of the message that is replaced.
        headers.remove(Self.header, Self.reasonHeader, "CC", "x-delivery-count")
        properties.userID = nil
        headers.append(Self.header, .int64(count))
        guard count >= Int64(self.maximum) else {
            properties.headers = headers
            return .again(Self.message(to: queue, properties, of: message))
        }
        headers.append(
            Self.reasonHeader,
            .table([
                "queue": .string(queue),
                "reason": .string(reason),
                "node": .string(node),
                "time": .timestamp(UInt64(max(0, time))),
            ])
        )
        properties.headers = headers
        // There it stays until somebody decides on it.
        properties.expiration = nil
        properties.deliveryMode = 2
        let aside = Self.asideQueue(of: queue)
        return .aside(Self.message(to: aside, properties, of: message), QueueDeclaration(name: aside))
    }

    private static func message(to queue: String, _ properties: BasicProperties, of message: TaskMessage) -> Message {
        Message(routingKey: queue, properties: properties, body: message.body, isMandatory: true)
    }
}
