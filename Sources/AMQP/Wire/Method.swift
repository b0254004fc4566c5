import NIOCore

/// The methods of AMQP 0-9-1 that a client sends or receives, with RabbitMQ's extensions.
///
/// Fields that the specification reserves are written as it demands, and not kept when read.
enum Method: Sendable, Equatable {
    // Class connection.
    case connectionStart(serverProperties: FieldTable, mechanisms: ByteBuffer, locales: ByteBuffer)
    case connectionStartOk(clientProperties: FieldTable, mechanism: String, response: ByteBuffer, locale: String)
    case connectionSecure(challenge: ByteBuffer)
    case connectionSecureOk(response: ByteBuffer)
    case connectionTune(Tune)
    case connectionTuneOk(Tune)
    case connectionOpen(virtualHost: String)
    case connectionOpenOk
    case connectionClose(CloseReason)
    case connectionCloseOk
    case connectionBlocked(reason: String)
    case connectionUnblocked
    case connectionUpdateSecret(secret: ByteBuffer, reason: String)
    case connectionUpdateSecretOk
    // Class channel.
    case channelOpen
    case channelOpenOk
    case channelFlow(isActive: Bool)
    case channelFlowOk(isActive: Bool)
    case channelClose(CloseReason)
    case channelCloseOk
    // Class exchange.
    case exchangeDeclare(ExchangeDeclaration, noWait: Bool)
    case exchangeDeclareOk
    case exchangeDelete(name: String, ifUnused: Bool, noWait: Bool)
    case exchangeDeleteOk
    case exchangeBind(destination: String, source: String, routingKey: String, arguments: FieldTable, noWait: Bool)
    case exchangeBindOk
    case exchangeUnbind(destination: String, source: String, routingKey: String, arguments: FieldTable, noWait: Bool)
    case exchangeUnbindOk
    // Class queue.
    case queueDeclare(QueueDeclaration, noWait: Bool)
    case queueDeclareOk(DeclaredQueue)
    case queueBind(queue: String, exchange: String, routingKey: String, arguments: FieldTable, noWait: Bool)
    case queueBindOk
    case queueUnbind(queue: String, exchange: String, routingKey: String, arguments: FieldTable)
    case queueUnbindOk
    case queuePurge(name: String, noWait: Bool)
    case queuePurgeOk(messageCount: UInt32)
    case queueDelete(name: String, ifUnused: Bool, ifEmpty: Bool, noWait: Bool)
    case queueDeleteOk(messageCount: UInt32)
    // Class basic.
    case basicQos(prefetchSize: UInt32, prefetchCount: UInt16, isGlobal: Bool)
    case basicQosOk
    case basicConsume(Consume)
    case basicConsumeOk(consumerTag: String)
    case basicCancel(consumerTag: String, noWait: Bool)
    case basicCancelOk(consumerTag: String)
    case basicPublish(exchange: String, routingKey: String, isMandatory: Bool)
    case basicReturn(replyCode: UInt16, replyText: String, exchange: String, routingKey: String)
    case basicDeliver(Deliver)
    case basicGet(queue: String, noAck: Bool)
    case basicGetOk(deliveryTag: UInt64, redelivered: Bool, exchange: String, routingKey: String, messageCount: UInt32)
    case basicGetEmpty
    case basicAck(deliveryTag: UInt64, isMultiple: Bool)
    case basicReject(deliveryTag: UInt64, requeue: Bool)
    case basicNack(deliveryTag: UInt64, isMultiple: Bool, requeue: Bool)
    case basicRecover(requeue: Bool)
    case basicRecoverOk
    // Class confirm.
    case confirmSelect(noWait: Bool)
    case confirmSelectOk

    /// The limits of a connection.
    struct Tune: Sendable, Equatable {
        /// 0 for no limit.
        var channelMax: UInt16
        /// Bytes; 0 for no limit.
        var frameMax: UInt32
        /// Seconds; 0 for no heartbeats.
        var heartbeat: UInt16
    }

    struct Consume: Sendable, Equatable {
        var queue: String
        var consumerTag: String
        var noLocal = false
        var noAck: Bool
        var isExclusive: Bool
        var noWait: Bool
        var arguments: FieldTable
    }

    struct Deliver: Sendable, Equatable {
        var consumerTag: String
        var deliveryTag: UInt64
        var redelivered: Bool
        var exchange: String
        var routingKey: String
    }

    /// Class and method, as the wire and error messages name them.
    struct ID: Sendable, Hashable {
        var classID: UInt16
        var methodID: UInt16

        init(_ classID: UInt16, _ methodID: UInt16) {
            self.classID = classID
            self.methodID = methodID
        }
    }
}
