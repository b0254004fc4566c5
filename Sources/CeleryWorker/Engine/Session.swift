import AMQP

/// What belongs to one connection to the broker, and ends with it.
struct Session {
    let connection: AMQPConnection
    /// Carries deliveries of tasks and their settlements.
    let tasks: AMQPChannel
    /// Carries remote-control requests, so that they are answered while the tasks' channel is closing.
    let control: AMQPChannel
    /// Of the deliveries of tasks.
    let source: DeliverySource
    /// Per queue.
    var consumerTags: [String: String] = [:]
    /// The prefetch count that the broker has been told.
    var prefetchCount: UInt16
    /// Whether `basic.qos` counts per channel, and so applies to consumers that exist already.
    let prefetchIsPerChannel: Bool
}
