public import AMQP
public import JSON

/// A queue to consume from, with its exchange and bindings: kombu's `Queue.as_dict(recurse=True)`, as `celery inspect active_queues` shows it.
public struct QueueSpecification: Sendable, Equatable {
    public struct Exchange: Sendable, Equatable {
        public var name: String
        public var type: String
        public var durable: Bool
        public var autoDelete: Bool
        public var passive: Bool
        public var noDeclare: Bool
        public var arguments: JSONObject
    }

    public struct Binding: Sendable, Equatable {
        public var exchange: Exchange?
        public var routingKey: String
        public var arguments: JSONObject
    }

    public var name: String
    public var exchange: Exchange?
    public var routingKey: String
    public var durable: Bool
    public var exclusive: Bool
    public var autoDelete: Bool
    public var noDeclare: Bool
    public var noAck: Bool
    public var queueArguments: JSONObject
    public var consumerArguments: JSONObject
    public var bindings: [Binding]
    /// The whole as it came, for `active_queues`.
    public var manifest: JSON

    /// - Throws: a text that says which member is missing or wrong.
    public init(manifest: JSON) throws(ManifestError) {
        guard let name = manifest["name"]?.string else {
            throw ManifestError("a queue has no name: \(manifest)")
        }
        self.manifest = manifest
        self.name = name
        self.exchange = Exchange(manifest: manifest["exchange"])
        self.routingKey = manifest["routing_key"]?.string ?? ""
        self.durable = manifest["durable"]?.bool ?? true
        self.exclusive = manifest["exclusive"]?.bool ?? false
        self.autoDelete = manifest["auto_delete"]?.bool ?? false
        self.noDeclare = manifest["no_declare"]?.bool ?? false
        self.noAck = manifest["no_ack"]?.bool ?? false
        self.consumerArguments = manifest["consumer_arguments"]?.object ?? [:]
        self.queueArguments = Self.queueArguments(manifest)
        let bindingArguments = manifest["binding_arguments"]?.object ?? [:]
        let listed = manifest["bindings"]?.array ?? []
        if listed.isEmpty {
            self.bindings = [Binding(exchange: self.exchange, routingKey: self.routingKey, arguments: bindingArguments)]
        } else {
            self.bindings = listed.map { binding in
                Binding(
                    exchange: Exchange(manifest: binding["exchange"]),
                    routingKey: binding["routing_key"]?.string ?? "",
                    arguments: binding["arguments"]?.object ?? [:]
                )
            }
        }
    }

    /// The arguments of `queue.declare`: those that the project wrote, then those that kombu derives from a queue's attributes
    /// (`kombu/transport/pyamqp.py`, `prepare_queue_arguments`; times in seconds become milliseconds).
    private static func queueArguments(_ manifest: JSON) -> JSONObject {
        var arguments = manifest["queue_arguments"]?.object ?? [:]
        func add(_ argument: String, _ value: JSON?, scale: Double = 1) {
            guard let number = value?.double else { return }
            arguments[argument] = .int(Int64((number * scale).rounded(.towardZero)))
        }
        add("x-expires", manifest["expires"], scale: 1000)
        add("x-message-ttl", manifest["message_ttl"], scale: 1000)
        add("x-max-length", manifest["max_length"])
        add("x-max-length-bytes", manifest["max_length_bytes"])
        add("x-max-priority", manifest["max_priority"])
        return arguments
    }
}

extension QueueSpecification.Exchange {
    init?(manifest: JSON?) {
        guard let manifest, let name = manifest["name"]?.string else { return nil }
        self.name = name
        self.type = manifest["type"]?.string ?? "direct"
        self.durable = manifest["durable"]?.bool ?? true
        self.autoDelete = manifest["auto_delete"]?.bool ?? false
        self.passive = manifest["passive"]?.bool ?? false
        self.noDeclare = manifest["no_declare"]?.bool ?? false
        self.arguments = manifest["arguments"]?.object ?? [:]
    }

    /// The default exchange and the broker's own are not declared (`kombu/entity.py`, `Exchange.declare`).
    public var isDeclarable: Bool { !self.noDeclare && !self.name.isEmpty && !self.name.hasPrefix("amq.") }
}

extension FieldTable {
    /// A table with the members of a JSON object. Numbers that no AMQP integer holds become doubles.
    public init(_ object: JSONObject) {
        self.init()
        for (name, value) in object { self.append(name, FieldValue(value)) }
    }
}

extension FieldValue {
    public init(_ json: JSON) {
        switch json {
        case .null: self = .void
        case .bool(let value): self = .bool(value)
        case .int(let value): self = Int32(exactly: value).map(FieldValue.int32) ?? .int64(value)
        case .bigInteger(let digits): self = .double(Double(digits) ?? .infinity)
        case .double(let value): self = .double(value)
        case .string(let value): self = .string(value)
        case .array(let elements):
            var array = FieldArray()
            for element in elements { array.append(FieldValue(element)) }
            self = .array(array)
        case .object(let object): self = .table(FieldTable(object))
        }
    }
}
