import NIOCore

extension Method {
    /// Reads a method frame's payload.
    init(decoding payload: ByteBuffer, names: inout RepeatedNames) throws(AMQPError) {
        var reader = payload
        let id = ID(try reader.readUInt16(), try reader.readUInt16())
        switch id.classID {
        case 10: self = try Self.connection(id, &reader)
        case 20: self = try Self.channel(id, &reader)
        case 40: self = try Self.exchange(id, &reader)
        case 50: self = try Self.queue(id, &reader)
        case 60: self = try Self.basic(id, &reader, &names)
        case 85: self = try Self.confirm(id, &reader)
        default: throw Self.unknown(id)
        }
        guard reader.readableBytes == 0 else {
            throw .syntax("\(reader.readableBytes) bytes after the end of method \(id.classID).\(id.methodID)")
        }
    }

    private static func unknown(_ id: ID) -> AMQPError { .syntax("the unknown method \(id.classID).\(id.methodID)") }

    private static func connection(_ id: ID, _ reader: inout ByteBuffer) throws(AMQPError) -> Method {
        switch id.methodID {
        case 10:
            let version = (try reader.readUInt8(), try reader.readUInt8())
            guard version == (0, 9) else {
                throw .syntax("AMQP version \(version.0).\(version.1), where 0.9 was expected")
            }
            return .connectionStart(
                serverProperties: try reader.readTable(),
                mechanisms: try reader.readLongString(),
                locales: try reader.readLongString()
            )
        case 11:
            return .connectionStartOk(
                clientProperties: try reader.readTable(),
                mechanism: try reader.readShortString(),
                response: try reader.readLongString(),
                locale: try reader.readShortString()
            )
        case 20: return .connectionSecure(challenge: try reader.readLongString())
        case 21: return .connectionSecureOk(response: try reader.readLongString())
        case 30: return .connectionTune(try Self.tune(&reader))
        case 31: return .connectionTuneOk(try Self.tune(&reader))
        case 40:
            let virtualHost = try reader.readShortString()
            _ = try reader.readShortString()
            _ = try reader.readUInt8()
            return .connectionOpen(virtualHost: virtualHost)
        case 41:
            _ = try reader.readShortString()
            return .connectionOpenOk
        case 50: return .connectionClose(try Self.closeReason(&reader))
        case 51: return .connectionCloseOk
        case 60: return .connectionBlocked(reason: try reader.readShortString())
        case 61: return .connectionUnblocked
        case 70:
            return .connectionUpdateSecret(secret: try reader.readLongString(), reason: try reader.readShortString())
        case 71: return .connectionUpdateSecretOk
        default: throw Self.unknown(id)
        }
    }

    private static func tune(_ reader: inout ByteBuffer) throws(AMQPError) -> Tune {
        Tune(channelMax: try reader.readUInt16(), frameMax: try reader.readUInt32(), heartbeat: try reader.readUInt16())
    }

    private static func closeReason(_ reader: inout ByteBuffer) throws(AMQPError) -> CloseReason {
        CloseReason(
            replyCode: try reader.readUInt16(),
            replyText: try reader.readShortString(),
            classID: try reader.readUInt16(),
            methodID: try reader.readUInt16()
        )
    }

    private static func channel(_ id: ID, _ reader: inout ByteBuffer) throws(AMQPError) -> Method {
        switch id.methodID {
        case 10:
            _ = try reader.readShortString()
            return .channelOpen
        case 11:
            _ = try reader.readLongString()
            return .channelOpenOk
        case 20: return .channelFlow(isActive: try reader.readUInt8() & 1 != 0)
        case 21: return .channelFlowOk(isActive: try reader.readUInt8() & 1 != 0)
        case 40: return .channelClose(try Self.closeReason(&reader))
        case 41: return .channelCloseOk
        default: throw Self.unknown(id)
        }
    }

    private static func exchange(_ id: ID, _ reader: inout ByteBuffer) throws(AMQPError) -> Method {
        switch id.methodID {
        case 10:
            _ = try reader.readUInt16()
            let name = try reader.readShortString()
            let type = try reader.readShortString()
            let bits = try reader.readUInt8()
            let declaration = ExchangeDeclaration(
                name: name,
                type: type,
                isPassive: bits & 1 != 0,
                durable: bits & 2 != 0,
                autoDelete: bits & 4 != 0,
                isInternal: bits & 8 != 0,
                arguments: try reader.readTable()
            )
            return .exchangeDeclare(declaration, noWait: bits & 16 != 0)
        case 11: return .exchangeDeclareOk
        case 20:
            _ = try reader.readUInt16()
            let name = try reader.readShortString()
            let bits = try reader.readUInt8()
            return .exchangeDelete(name: name, ifUnused: bits & 1 != 0, noWait: bits & 2 != 0)
        case 21: return .exchangeDeleteOk
        case 30, 40:
            _ = try reader.readUInt16()
            let destination = try reader.readShortString()
            let source = try reader.readShortString()
            let routingKey = try reader.readShortString()
            let noWait = try reader.readUInt8() & 1 != 0
            let arguments = try reader.readTable()
            return id.methodID == 30
                ? .exchangeBind(
                    destination: destination,
                    source: source,
                    routingKey: routingKey,
                    arguments: arguments,
                    noWait: noWait
                )
                : .exchangeUnbind(
                    destination: destination,
                    source: source,
                    routingKey: routingKey,
                    arguments: arguments,
                    noWait: noWait
                )
        case 31: return .exchangeBindOk
        case 51: return .exchangeUnbindOk
        default: throw Self.unknown(id)
        }
    }

    private static func queue(_ id: ID, _ reader: inout ByteBuffer) throws(AMQPError) -> Method {
        switch id.methodID {
        case 10:
            _ = try reader.readUInt16()
            let name = try reader.readShortString()
            let bits = try reader.readUInt8()
            let declaration = QueueDeclaration(
                name: name,
                isPassive: bits & 1 != 0,
                durable: bits & 2 != 0,
                exclusive: bits & 4 != 0,
                autoDelete: bits & 8 != 0,
                arguments: try reader.readTable()
            )
            return .queueDeclare(declaration, noWait: bits & 16 != 0)
        case 11:
            return .queueDeclareOk(
                DeclaredQueue(
                    name: try reader.readShortString(),
                    messageCount: try reader.readUInt32(),
                    consumerCount: try reader.readUInt32()
                )
            )
        case 20:
            _ = try reader.readUInt16()
            let queue = try reader.readShortString()
            let exchange = try reader.readShortString()
            let routingKey = try reader.readShortString()
            let noWait = try reader.readUInt8() & 1 != 0
            let arguments = try reader.readTable()
            return .queueBind(
                queue: queue,
                exchange: exchange,
                routingKey: routingKey,
                arguments: arguments,
                noWait: noWait
            )
        case 21: return .queueBindOk
        case 30:
            _ = try reader.readUInt16()
            return .queuePurge(name: try reader.readShortString(), noWait: try reader.readUInt8() & 1 != 0)
        case 31: return .queuePurgeOk(messageCount: try reader.readUInt32())
        case 40:
            _ = try reader.readUInt16()
            let name = try reader.readShortString()
            let bits = try reader.readUInt8()
            return .queueDelete(name: name, ifUnused: bits & 1 != 0, ifEmpty: bits & 2 != 0, noWait: bits & 4 != 0)
        case 41: return .queueDeleteOk(messageCount: try reader.readUInt32())
        case 50:
            _ = try reader.readUInt16()
            return .queueUnbind(
                queue: try reader.readShortString(),
                exchange: try reader.readShortString(),
                routingKey: try reader.readShortString(),
                arguments: try reader.readTable()
            )
        case 51: return .queueUnbindOk
        default: throw Self.unknown(id)
        }
    }

    private static func basic(
        _ id: ID,
        _ reader: inout ByteBuffer,
        _ names: inout RepeatedNames
    ) throws(AMQPError) -> Method {
        switch id.methodID {
        case 10:
            return .basicQos(
                prefetchSize: try reader.readUInt32(),
                prefetchCount: try reader.readUInt16(),
                isGlobal: try reader.readUInt8() & 1 != 0
            )
        case 11: return .basicQosOk
        case 20: return .basicConsume(try Self.consume(&reader))
        case 21: return .basicConsumeOk(consumerTag: try reader.readShortString())
        case 30:
            return .basicCancel(consumerTag: try reader.readShortString(), noWait: try reader.readUInt8() & 1 != 0)
        case 31: return .basicCancelOk(consumerTag: try reader.readShortString())
        case 40:
            _ = try reader.readUInt16()
            return .basicPublish(
                exchange: try reader.readShortString(),
                routingKey: try reader.readShortString(),
                isMandatory: try reader.readUInt8() & 1 != 0
            )
        case 50:
            return .basicReturn(
                replyCode: try reader.readUInt16(),
                replyText: try reader.readShortString(),
                exchange: try reader.readShortString(),
                routingKey: try reader.readShortString()
            )
        case 60:
            return .basicDeliver(
                Deliver(
                    consumerTag: try names.consumerTag.read(from: &reader),
                    deliveryTag: try reader.readUInt64(),
                    redelivered: try reader.readUInt8() & 1 != 0,
                    exchange: try names.exchange.read(from: &reader),
                    routingKey: try names.routingKey.read(from: &reader)
                )
            )
        case 70:
            _ = try reader.readUInt16()
            return .basicGet(queue: try reader.readShortString(), noAck: try reader.readUInt8() & 1 != 0)
        case 71:
            return .basicGetOk(
                deliveryTag: try reader.readUInt64(),
                redelivered: try reader.readUInt8() & 1 != 0,
                exchange: try reader.readShortString(),
                routingKey: try reader.readShortString(),
                messageCount: try reader.readUInt32()
            )
        case 72:
            _ = try reader.readShortString()
            return .basicGetEmpty
        case 80: return .basicAck(deliveryTag: try reader.readUInt64(), isMultiple: try reader.readUInt8() & 1 != 0)
        case 90: return .basicReject(deliveryTag: try reader.readUInt64(), requeue: try reader.readUInt8() & 1 != 0)
        case 110: return .basicRecover(requeue: try reader.readUInt8() & 1 != 0)
        case 111: return .basicRecoverOk
        case 120:
            let deliveryTag = try reader.readUInt64()
            let bits = try reader.readUInt8()
            return .basicNack(deliveryTag: deliveryTag, isMultiple: bits & 1 != 0, requeue: bits & 2 != 0)
        default: throw Self.unknown(id)
        }
    }

    private static func consume(_ reader: inout ByteBuffer) throws(AMQPError) -> Consume {
        _ = try reader.readUInt16()
        let queue = try reader.readShortString()
        let consumerTag = try reader.readShortString()
        let bits = try reader.readUInt8()
        return Consume(
            queue: queue,
            consumerTag: consumerTag,
            noLocal: bits & 1 != 0,
            noAck: bits & 2 != 0,
            isExclusive: bits & 4 != 0,
            noWait: bits & 8 != 0,
            arguments: try reader.readTable()
        )
    }

    private static func confirm(_ id: ID, _ reader: inout ByteBuffer) throws(AMQPError) -> Method {
        switch id.methodID {
        case 10: return .confirmSelect(noWait: try reader.readUInt8() & 1 != 0)
        case 11: return .confirmSelectOk
        default: throw Self.unknown(id)
        }
    }
}
