public import AMQP
import JSON
public import NIOCore

/// What a worker knows before the first message comes: which tasks there are, and which content types it may decode.
public struct TaskRegistry: Sendable {
    public var tasks: [String: TaskOptions]
    /// `accept_content`, as content types.
    public var acceptContent: Set<String>

    public init(tasks: [String: TaskOptions], acceptContent: Set<String>) {
        self.tasks = tasks
        self.acceptContent = acceptContent
    }
}

/// What is known of a delivery's message after a first look.
public enum MessageReading: Sendable {
    case task(TaskMessage, TaskOptions)
    /// A message of protocol 1 whose body only Python can decode (pickle, YAML, a compressed body).
    case needsPython
}

extension TaskMessage {
    /// Reads a message as `create_task_handler` does (`celery/worker/consumer/consumer.py`), without touching the body of protocol 2.
    /// - Throws: ``MessageProblem`` with the settlement that Celery gives such a message.
    public static func read(
        properties: BasicProperties,
        body: ByteBuffer,
        deliveryInfo: DeliveryInfo,
        registry: TaskRegistry
    ) throws(MessageProblem) -> MessageReading {
        let headers = TaskHeaders(properties.headers)
        guard headers.task != .absent else {
            return try Self.readProtocol1(
                properties: properties,
                body: body,
                deliveryInfo: deliveryInfo,
                registry: registry
            )
        }
        guard case .text(let name) = headers.task else {
            throw .malformed("its 'task' header is \(headers.task.kind), where the name of a task was expected")
        }
        guard let options = registry.tasks[name] else {
            if case .text(let id) = headers.id { throw .unregistered(task: name, id: id) }
            throw .unregistered(task: name, id: "")
        }
        var message = TaskMessage(
            form: .protocol2,
            id: "",
            task: name,
            deliveryInfo: deliveryInfo,
            properties: properties,
            body: body
        )
        try message.checkContent(registry.acceptContent)
        try message.apply(headers)
        return .task(message, options)
    }

    private func checkContent(_ acceptContent: Set<String>) throws(MessageProblem) {
        guard let type = self.properties.contentType, !type.isEmpty else {
            throw .malformed("it has no content type, where one of accept_content was expected")
        }
        guard acceptContent.contains(type) else { throw .contentDisallowed(type) }
        guard self.body.readableBytes > 0 else {
            throw .malformed("its body is empty, where [args, kwargs, embed] was expected")
        }
    }

    private mutating func apply(_ headers: TaskHeaders) throws(MessageProblem) {
        switch headers.id {
        case .text(let id): self.id = id
        case .absent: throw .malformed("it has no 'id' header")
        case let other: throw .malformed("its 'id' header is \(other.kind), where a string was expected")
        }
        self.eta = try Self.time(headers.eta, header: "eta")
        self.expires = try Self.time(headers.expires, header: "expires")
        self.retries = headers.retries
        switch headers.timeLimit {
        case .none: return
        case .limits(let hard, let soft): (self.hardTimeLimit, self.softTimeLimit) = (hard, soft)
        case .element(let kind):
            throw .malformed("its 'timelimit' header holds \(kind), where seconds or null were expected")
        case .length(let count):
            throw .malformed("its 'timelimit' header has \(count) elements, where [hard, soft] was expected")
        case .other(let kind): throw .malformed("its 'timelimit' header is \(kind), where [hard, soft] was expected")
        }
    }

    private static func time(_ value: TaskHeaders.Value, header: String) throws(MessageProblem) -> EpochSeconds? {
        switch value {
        case .absent, .null: return nil
        case .timestamp(let seconds): return EpochSeconds(seconds)
        case .other(let kind): throw .invalid("invalid \(header) value: \(kind), where an ISO 8601 time was expected")
        case .text(let text):
            if text.isEmpty { return nil }
            guard let time = ISO8601.parse(text) else {
                throw .invalid("invalid \(header) value '\(text.prefix(80))': an ISO 8601 time was expected")
            }
            return time
        }
    }
}
