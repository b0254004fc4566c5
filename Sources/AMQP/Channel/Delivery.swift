public import NIOCore

/// Names one delivery for its settlement, and knows the connection and channel that it came by.
public struct DeliveryToken: Sendable, Hashable {
    /// Of the connection, unique in this process.
    public var epoch: UInt64
    /// Of the channel, unique in its connection: a number may be used again after a channel has closed.
    public var channel: UInt64
    /// The broker's delivery tag.
    public var tag: UInt64

    public init(epoch: UInt64, channel: UInt64, tag: UInt64) {
        self.epoch = epoch
        self.channel = channel
        self.tag = tag
    }

    public var source: DeliverySource { DeliverySource(epoch: self.epoch, channel: self.channel) }
}

/// Where a delivery came from: it can be settled nowhere else, and not any more once that has ended.
public struct DeliverySource: Sendable, Hashable {
    /// Of the connection, unique in this process.
    public var epoch: UInt64
    /// Of the channel, unique in its connection.
    public var channel: UInt64

    public init(epoch: UInt64, channel: UInt64) {
        self.epoch = epoch
        self.channel = channel
    }
}

/// A message that has come from a queue.
public struct Delivery: Sendable {
    public var consumerTag: String
    public var token: DeliveryToken
    /// Whether the broker has delivered it before, to anybody.
    public var redelivered: Bool
    public var exchange: String
    public var routingKey: String
    public var properties: BasicProperties
    public var body: ByteBuffer

    /// Counted per channel.
    public var deliveryTag: UInt64 { self.token.tag }
}

/// A message on its way to an exchange.
public struct Message: Sendable, Equatable {
    /// Empty for the default exchange, which routes by the queue's name.
    public var exchange: String
    public var routingKey: String
    public var properties: BasicProperties
    public var body: ByteBuffer
    /// Whether the broker gives back what it can route to no queue.
    public var isMandatory: Bool

    public init(
        exchange: String = "",
        routingKey: String,
        properties: BasicProperties = BasicProperties(),
        body: ByteBuffer,
        isMandatory: Bool = false
    ) {
        self.exchange = exchange
        self.routingKey = routingKey
        self.properties = properties
        self.body = body
        self.isMandatory = isMandatory
    }
}

/// A mandatory message that no queue took.
public struct ReturnedMessage: Sendable, Equatable {
    public var replyCode: UInt16
    public var replyText: String
    public var message: Message
}

/// What became of a confirmed message.
public enum PublishResult: Sendable, Equatable {
    /// The broker has taken it on.
    case acknowledged
    /// The broker could not take it on.
    case refused
    /// It was mandatory, and no queue took it.
    case returned(ReturnedMessage)
}

/// What happens to a consumer.
public enum ConsumerEvent: Sendable {
    case delivery(Delivery)
    /// The broker has ended it: its queue is gone or has moved.
    case cancelledByBroker(consumerTag: String)
    /// Its channel or connection has ended.
    case closed(AMQPError)
}
