/// A queue as it is to be, or with `isPassive`, as it is expected to be.
public struct QueueDeclaration: Sendable, Equatable {
    /// Empty to let the broker choose a name.
    public var name: String
    public var isPassive: Bool
    public var durable: Bool
    public var exclusive: Bool
    public var autoDelete: Bool
    public var arguments: FieldTable

    public init(
        name: String,
        isPassive: Bool = false,
        durable: Bool = true,
        exclusive: Bool = false,
        autoDelete: Bool = false,
        arguments: FieldTable = [:]
    ) {
        self.name = name
        self.isPassive = isPassive
        self.durable = durable
        self.exclusive = exclusive
        self.autoDelete = autoDelete
        self.arguments = arguments
    }
}

/// What the broker tells of a queue that has been declared.
public struct DeclaredQueue: Sendable, Equatable {
    public var name: String
    /// Messages ready for delivery.
    public var messageCount: UInt32
    public var consumerCount: UInt32

    public init(name: String, messageCount: UInt32, consumerCount: UInt32) {
        self.name = name
        self.messageCount = messageCount
        self.consumerCount = consumerCount
    }
}

/// An exchange as it is to be, or with `isPassive`, as it is expected to be.
public struct ExchangeDeclaration: Sendable, Equatable {
    public var name: String
    /// `direct`, `fanout`, `topic`, `headers`, or a plug-in's.
    public var type: String
    public var isPassive: Bool
    public var durable: Bool
    public var autoDelete: Bool
    public var isInternal: Bool
    public var arguments: FieldTable

    public init(
        name: String,
        type: String,
        isPassive: Bool = false,
        durable: Bool = true,
        autoDelete: Bool = false,
        isInternal: Bool = false,
        arguments: FieldTable = [:]
    ) {
        self.name = name
        self.type = type
        self.isPassive = isPassive
        self.durable = durable
        self.autoDelete = autoDelete
        self.isInternal = isInternal
        self.arguments = arguments
    }
}

/// A way for messages from an exchange to a queue or, with RabbitMQ, to another exchange.
public struct BindingDeclaration: Sendable, Equatable {
    public enum Destination: Sendable, Equatable {
        case queue(String)
        case exchange(String)
    }

    public var destination: Destination
    public var source: String
    public var routingKey: String
    public var arguments: FieldTable

    public init(destination: Destination, source: String, routingKey: String, arguments: FieldTable = [:]) {
        self.destination = destination
        self.source = source
        self.routingKey = routingKey
        self.arguments = arguments
    }
}

/// Exchanges, queues and bindings that belong together, declared in an order in which each finds what it needs.
public struct Topology: Sendable, Equatable {
    public var exchanges: [ExchangeDeclaration]
    public var queues: [QueueDeclaration]
    public var bindings: [BindingDeclaration]

    public init(
        exchanges: [ExchangeDeclaration] = [],
        queues: [QueueDeclaration] = [],
        bindings: [BindingDeclaration] = []
    ) {
        self.exchanges = exchanges
        self.queues = queues
        self.bindings = bindings
    }
}
