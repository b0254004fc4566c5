public import AMQP
public import JSON
public import NIOCore

extension TaskMessage {
    /// Reads a message without a `task` header: protocol 1, or nothing of Celery's (`celery/worker/strategy.py`, `proto1_to_proto2`).
    static func readProtocol1(
        properties: BasicProperties,
        body: ByteBuffer,
        deliveryInfo: DeliveryInfo,
        registry: TaskRegistry
    ) throws(MessageProblem) -> MessageReading {
        let type = properties.contentType ?? ""
        // kombu hands over text and data of no declared format as they are.
        guard !Self.opaqueTypes.contains(type) else { throw .unknownMessage }
        guard registry.acceptContent.contains(type) else {
            throw .undecodable("content of type '\(type)' is not in accept_content")
        }
        guard type == "application/json", properties.headers?["compression"] == nil else { return .needsPython }
        let payload: JSON
        do throws(JSONError) {
            payload = try JSON(parsing: body)
        } catch {
            throw .undecodable(error.description)
        }
        return try Self.readProtocol1(
            payload: payload,
            properties: properties,
            body: body,
            deliveryInfo: deliveryInfo,
            registry: registry
        )
    }

    /// Reads a message of protocol 1 whose body has been decoded.
    public static func readProtocol1(
        payload: JSON,
        properties: BasicProperties,
        body: ByteBuffer,
        deliveryInfo: DeliveryInfo,
        registry: TaskRegistry
    ) throws(MessageProblem) -> MessageReading {
        let message = try TaskMessage(
            protocol1: payload,
            properties: properties,
            body: body,
            deliveryInfo: deliveryInfo
        )
        guard let options = registry.tasks[message.task] else {
            throw .unregistered(task: message.task, id: message.id)
        }
        return .task(message, options)
    }

    private static let opaqueTypes: Set<String> = ["", "application/data", "application/text"]

    private init(
        protocol1 payload: JSON,
        properties: BasicProperties,
        body: ByteBuffer,
        deliveryInfo: DeliveryInfo
    ) throws(MessageProblem) {
        guard let task = payload["task"] else { throw .unknownMessage }
        guard let name = task.string else {
            throw .malformed("its body's 'task' is \(task.kind), where the name of a task was expected")
        }
        guard let id = payload["id"]?.string else {
            throw .malformed("its body has no 'id' that is a string")
        }
        if let kwargs = payload["kwargs"], kwargs.object == nil {
            throw .invalid("task keyword arguments are \(kwargs.kind), where an object was expected")
        }
        self.init(
            form: .protocol1,
            id: id,
            task: name,
            eta: try Self.time(payload["eta"], member: "eta"),
            expires: try Self.time(payload["expires"], member: "expires"),
            retries: payload["retries"]?.int.map(Int64.init) ?? 0,
            hardTimeLimit: nil,
            softTimeLimit: nil,
            deliveryInfo: deliveryInfo,
            properties: properties,
            body: body
        )
        switch payload["timelimit"] {
        case nil, .null: break
        case .array(let limits) where limits.isEmpty: break
        case .array(let limits) where limits.count == 2 && limits.allSatisfy({ $0.isNull || $0.double != nil }):
            (self.hardTimeLimit, self.softTimeLimit) = (limits[0].double, limits[1].double)
        case let other?: throw .malformed("its body's 'timelimit' is \(other), where [hard, soft] was expected")
        }
    }

    private static func time(_ value: JSON?, member: String) throws(MessageProblem) -> EpochSeconds? {
        switch value {
        case nil, .null: return nil
        case .string(let text):
            if text.isEmpty { return nil }
            if let time = ISO8601.parse(text) { return time }
            throw .invalid("invalid \(member) value '\(text.prefix(80))': an ISO 8601 time was expected")
        case let other?:
            throw .invalid("invalid \(member) value: \(other.kind), where an ISO 8601 time was expected")
        }
    }
}
