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
        guard let task = properties.headers?["task"] else {
            return try Self.readProtocol1(
                properties: properties,
                body: body,
                deliveryInfo: deliveryInfo,
                registry: registry
            )
        }
        guard let name = task.string else {
            throw .malformed("its 'task' header is \(task.kind), where the name of a task was expected")
        }
        guard let options = registry.tasks[name] else {
            throw .unregistered(task: name, id: properties.headers?["id"]?.string ?? "")
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
        try message.readHeaders()
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

    private mutating func readHeaders() throws(MessageProblem) {
        let headers = self.headers
        guard let id = headers["id"] else { throw .malformed("it has no 'id' header") }
        guard let id = id.string else { throw .malformed("its 'id' header is \(id.kind), where a string was expected") }
        self.id = id
        self.eta = try Self.time(headers["eta"], header: "eta")
        self.expires = try Self.time(headers["expires"], header: "expires")
        self.retries = headers["retries"]?.int ?? 0
        try self.readTimeLimit(headers["timelimit"])
    }

    private mutating func readTimeLimit(_ value: FieldValue?) throws(MessageProblem) {
        switch value {
        case nil, .void: return
        case .array(let array):
            var limits: [Double?] = []
            var problem: MessageProblem?
            array.forEachValue { element in
                switch element {
                case .void: limits.append(nil)
                default:
                    if let number = element.number {
                        limits.append(number)
                    } else {
                        problem = .malformed(
                            "its 'timelimit' header holds \(element.kind), where seconds or null were expected"
                        )
                    }
                }
            }
            if let problem { throw problem }
            guard !limits.isEmpty else { return }
            guard limits.count == 2 else {
                throw .malformed("its 'timelimit' header has \(limits.count) elements, where [hard, soft] was expected")
            }
            (self.hardTimeLimit, self.softTimeLimit) = (limits[0], limits[1])
        case let other?:
            throw .malformed("its 'timelimit' header is \(other.kind), where [hard, soft] was expected")
        }
    }

    private static func time(_ value: FieldValue?, header: String) throws(MessageProblem) -> EpochSeconds? {
        switch value {
        case nil, .void: return nil
        case .timestamp(let seconds): return EpochSeconds(seconds)
        case let value?:
            guard let text = value.string else {
                throw .invalid("invalid \(header) value: \(value.kind), where an ISO 8601 time was expected")
            }
            if text.isEmpty { return nil }
            guard let time = ISO8601.parse(text) else {
                throw .invalid("invalid \(header) value '\(text.prefix(80))': an ISO 8601 time was expected")
            }
            return time
        }
    }
}

extension FieldValue {
    /// A number of any kind.
    var number: Double? {
        switch self {
        case .float(let value): Double(value)
        case .double(let value): value
        default: self.int.map(Double.init)
        }
    }

    /// What kind of value this is, for messages that say what was found.
    var kind: String {
        switch self {
        case .bool: "a boolean"
        case .int8, .uint8, .int16, .uint16, .int32, .uint32, .int64: "an integer"
        case .float, .double, .decimal: "a number"
        case .longString: "a string"
        case .bytes: "bytes"
        case .array: "an array"
        case .timestamp: "a time"
        case .table: "a table"
        case .void: "null"
        }
    }
}
