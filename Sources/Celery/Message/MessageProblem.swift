/// Why a message can't be run as a task, and what becomes of it.
///
/// The kinds are those of `celery/worker/consumer/consumer.py` (`create_task_handler` and the `on_…` methods that it calls), and of one
/// more: ``malformed(_:)`` gathers the shapes that end a stock worker's process.
public enum MessageProblem: Error, Sendable, Equatable {
    /// Neither a `task` header nor a body with a `task` member.
    case unknownMessage
    /// The body can't be decoded: its text, its encoding or its compression is wrong.
    case undecodable(String)
    /// The content type is not among `accept_content`.
    case contentDisallowed(String)
    /// A header holds what can't be understood, such as an `eta` that is no time.
    case invalid(String)
    /// A shape that no Celery client writes.
    case malformed(String)
    /// A task of that name is not registered.
    case unregistered(task: String, id: String)

    /// How the delivery is settled.
    public enum Settlement: Sendable, Equatable {
        case acknowledge
        case reject
    }

    public var settlement: Settlement {
        switch self {
        case .undecodable: .acknowledge
        case .unknownMessage, .contentDisallowed, .invalid, .malformed, .unregistered: .reject
        }
    }
}

/// The texts begin as Celery's own do, since people search logs for them.
extension MessageProblem: CustomStringConvertible {
    public var description: String {
        switch self {
        case .unknownMessage:
            "Received and deleted unknown message: expected a 'task' header, or a body with a 'task' member;"
                + " wrong destination?"
        case .undecodable(let reason): "Can't decode message body: \(reason)"
        case .contentDisallowed(let type):
            "Received invalid task message: refusing to deserialize content of type '\(type)', which accept_content does not list"
        case .invalid(let reason): "Received invalid task message: \(reason)"
        case .malformed(let reason): "Received malformed task message: \(reason)"
        case .unregistered(let task, _):
            "Received unregistered task of type '\(task)': the message has been rejected; is the module that defines it imported?"
        }
    }
}
