import NIOCore

@testable import AMQP

/// One value or more of each method, with fields that differ from each other, so that a mix-up shows.
enum MethodSamples {
    static let table: FieldTable = [
        "x-max-priority": .int32(9), "nested": .table(["a": .array([.bool(true), .void])]),
    ]

    static let connection: [Method] = [
        .connectionStart(
            serverProperties: table,
            mechanisms: ByteBuffer(string: "PLAIN AMQPLAIN"),
            locales: ByteBuffer(string: "en_US")
        ),
        .connectionStartOk(
            clientProperties: table,
            mechanism: "PLAIN",
            response: ByteBuffer(bytes: [0, 1, 0xFF]),
            locale: "en_US"
        ),
        .connectionSecure(challenge: ByteBuffer(string: "challenge")),
        .connectionSecureOk(response: ByteBuffer()),
        .connectionTune(Method.Tune(channelMax: 2047, frameMax: 131_072, heartbeat: 60)),
        .connectionTuneOk(Method.Tune(channelMax: 0, frameMax: .max, heartbeat: .max)),
        .connectionOpen(virtualHost: "/"), .connectionOpenOk,
        .connectionClose(CloseReason(replyCode: 320, replyText: "CONNECTION_FORCED", classID: 10, methodID: 40)),
        .connectionCloseOk, .connectionBlocked(reason: "low on memory"), .connectionUnblocked,
        .connectionUpdateSecret(secret: ByteBuffer(string: "secret"), reason: "rotation"), .connectionUpdateSecretOk,
    ]

    static let channel: [Method] = [
        .channelOpen, .channelOpenOk, .channelFlow(isActive: true), .channelFlow(isActive: false),
        .channelFlowOk(isActive: true),
        .channelClose(CloseReason(replyCode: 404, replyText: "NOT_FOUND", classID: 50, methodID: 10)), .channelCloseOk,
    ]

    static let exchange: [Method] = [
        .exchangeDeclare(ExchangeDeclaration(name: "e", type: "topic", arguments: table), noWait: false),
        .exchangeDeclare(
            ExchangeDeclaration(name: "e", type: "fanout", isPassive: true, durable: false, isInternal: true),
            noWait: true
        ),
        .exchangeDeclare(
            ExchangeDeclaration(name: "", type: "x", durable: false, autoDelete: true),
            noWait: false
        ),
        .exchangeDeclareOk, .exchangeDelete(name: "e", ifUnused: true, noWait: false),
        .exchangeDelete(name: "e", ifUnused: false, noWait: true), .exchangeDeleteOk,
        .exchangeBind(destination: "d", source: "s", routingKey: "r", arguments: table, noWait: true),
        .exchangeBindOk,
        .exchangeUnbind(destination: "d", source: "s", routingKey: "r", arguments: table, noWait: false),
        .exchangeUnbindOk,
    ]

    static let queue: [Method] = [
        .queueDeclare(QueueDeclaration(name: "q", arguments: table), noWait: false),
        .queueDeclare(QueueDeclaration(name: "q", isPassive: true, durable: false, exclusive: true), noWait: true),
        .queueDeclare(QueueDeclaration(name: "", durable: false, autoDelete: true), noWait: false),
        .queueDeclareOk(DeclaredQueue(name: "q", messageCount: 7, consumerCount: .max)),
        .queueBind(queue: "q", exchange: "e", routingKey: "r", arguments: table, noWait: true), .queueBindOk,
        .queueUnbind(queue: "q", exchange: "e", routingKey: "r", arguments: table), .queueUnbindOk,
        .queuePurge(name: "q", noWait: true), .queuePurgeOk(messageCount: 12),
        .queueDelete(name: "q", ifUnused: true, ifEmpty: false, noWait: false),
        .queueDelete(name: "q", ifUnused: false, ifEmpty: true, noWait: false),
        .queueDelete(name: "q", ifUnused: false, ifEmpty: false, noWait: true), .queueDeleteOk(messageCount: 3),
    ]

    static let basic: [Method] = [
        .basicQos(prefetchSize: 1, prefetchCount: 2, isGlobal: true), .basicQosOk,
        .basicConsume(
            Method.Consume(
                queue: "q",
                consumerTag: "c",
                noLocal: true,
                noAck: false,
                isExclusive: true,
                noWait: false,
                arguments: table
            )
        ),
        .basicConsume(
            Method.Consume(queue: "q", consumerTag: "", noAck: true, isExclusive: false, noWait: true, arguments: [:])
        ),
        .basicConsumeOk(consumerTag: "c"), .basicCancel(consumerTag: "c", noWait: true),
        .basicCancelOk(consumerTag: "c"),
        .basicPublish(exchange: "e", routingKey: "r", isMandatory: true),
        .basicReturn(replyCode: 312, replyText: "NO_ROUTE", exchange: "e", routingKey: "r"),
        .basicDeliver(
            Method.Deliver(consumerTag: "c", deliveryTag: .max, redelivered: true, exchange: "e", routingKey: "r")
        ),
        .basicGet(queue: "q", noAck: true),
        .basicGetOk(deliveryTag: 1, redelivered: true, exchange: "e", routingKey: "r", messageCount: 5),
        .basicGetEmpty, .basicAck(deliveryTag: 1 << 40, isMultiple: true), .basicReject(deliveryTag: 2, requeue: true),
        .basicNack(deliveryTag: 3, isMultiple: true, requeue: false),
        .basicNack(deliveryTag: 3, isMultiple: false, requeue: true), .basicRecover(requeue: true), .basicRecoverOk,
    ]

    static let all =
        connection + channel + exchange + queue + basic + [.confirmSelect(noWait: true), .confirmSelectOk]

    static let properties: [BasicProperties] = [
        BasicProperties(), BasicProperties(contentType: "application/json"), BasicProperties(contentEncoding: "utf-8"),
        BasicProperties(headers: table), BasicProperties(headers: [:]), BasicProperties(deliveryMode: 2),
        BasicProperties(priority: 9), BasicProperties(correlationID: "c"), BasicProperties(replyTo: "r"),
        BasicProperties(expiration: "60000"), BasicProperties(messageID: "m"), BasicProperties(timestamp: .max),
        BasicProperties(type: "t"), BasicProperties(userID: "u"), BasicProperties(appID: "a"),
        BasicProperties(clusterID: "k"), fullProperties,
    ]

    static let fullProperties = BasicProperties(
        contentType: "application/json",
        contentEncoding: "utf-8",
        headers: table,
        deliveryMode: 2,
        priority: 3,
        correlationID: "correlation",
        replyTo: "reply",
        expiration: "1",
        messageID: "message",
        timestamp: 1_700_000_000,
        type: "type",
        userID: "user",
        appID: "app",
        clusterID: "cluster"
    )
}
