import NIOCore

extension Method {
    /// Class and method, as the wire names them.
    var id: ID {
        switch self {
        case .connectionStart: ID(10, 10)
        case .connectionStartOk: ID(10, 11)
        case .connectionSecure: ID(10, 20)
        case .connectionSecureOk: ID(10, 21)
        case .connectionTune: ID(10, 30)
        case .connectionTuneOk: ID(10, 31)
        case .connectionOpen: ID(10, 40)
        case .connectionOpenOk: ID(10, 41)
        case .connectionClose: ID(10, 50)
        case .connectionCloseOk: ID(10, 51)
        case .connectionBlocked: ID(10, 60)
        case .connectionUnblocked: ID(10, 61)
        case .connectionUpdateSecret: ID(10, 70)
        case .connectionUpdateSecretOk: ID(10, 71)
        case .channelOpen: ID(20, 10)
        case .channelOpenOk: ID(20, 11)
        case .channelFlow: ID(20, 20)
        case .channelFlowOk: ID(20, 21)
        case .channelClose: ID(20, 40)
        case .channelCloseOk: ID(20, 41)
        case .exchangeDeclare: ID(40, 10)
        case .exchangeDeclareOk: ID(40, 11)
        case .exchangeDelete: ID(40, 20)
        case .exchangeDeleteOk: ID(40, 21)
        case .exchangeBind: ID(40, 30)
        case .exchangeBindOk: ID(40, 31)
        case .exchangeUnbind: ID(40, 40)
        case .exchangeUnbindOk: ID(40, 51)
        case .queueDeclare: ID(50, 10)
        case .queueDeclareOk: ID(50, 11)
        case .queueBind: ID(50, 20)
        case .queueBindOk: ID(50, 21)
        case .queuePurge: ID(50, 30)
        case .queuePurgeOk: ID(50, 31)
        case .queueDelete: ID(50, 40)
        case .queueDeleteOk: ID(50, 41)
        case .queueUnbind: ID(50, 50)
        case .queueUnbindOk: ID(50, 51)
        case .basicQos: ID(60, 10)
        case .basicQosOk: ID(60, 11)
        case .basicConsume: ID(60, 20)
        case .basicConsumeOk: ID(60, 21)
        case .basicCancel: ID(60, 30)
        case .basicCancelOk: ID(60, 31)
        case .basicPublish: ID(60, 40)
        case .basicReturn: ID(60, 50)
        case .basicDeliver: ID(60, 60)
        case .basicGet: ID(60, 70)
        case .basicGetOk: ID(60, 71)
        case .basicGetEmpty: ID(60, 72)
        case .basicAck: ID(60, 80)
        case .basicReject: ID(60, 90)
        case .basicRecover: ID(60, 110)
        case .basicRecoverOk: ID(60, 111)
        case .basicNack: ID(60, 120)
        case .confirmSelect: ID(85, 10)
        case .confirmSelectOk: ID(85, 11)
        }
    }

    /// Writes the payload of a method frame.
    func write(to buffer: inout ByteBuffer) {
        let id = self.id
        buffer.writeInteger(id.classID)
        buffer.writeInteger(id.methodID)
        switch self {
        case .connectionStart(let serverProperties, let mechanisms, let locales):
            buffer.writeMultipleIntegers(UInt8(0), UInt8(9))
            buffer.writeLongString(serverProperties.encoded)
            buffer.writeLongString(mechanisms)
            buffer.writeLongString(locales)
        case .connectionStartOk(let clientProperties, let mechanism, let response, let locale):
            buffer.writeLongString(clientProperties.encoded)
            buffer.writeShortString(mechanism)
            buffer.writeLongString(response)
            buffer.writeShortString(locale)
        case .connectionSecure(let bytes), .connectionSecureOk(let bytes):
            buffer.writeLongString(bytes)
        case .connectionTune(let tune), .connectionTuneOk(let tune):
            buffer.writeMultipleIntegers(tune.channelMax, tune.frameMax, tune.heartbeat)
        case .connectionOpen(let virtualHost):
            buffer.writeShortString(virtualHost)
            buffer.writeShortString("")
            buffer.writeBits()
        case .connectionClose(let reason), .channelClose(let reason):
            buffer.writeInteger(reason.replyCode)
            buffer.writeShortString(reason.replyText)
            buffer.writeMultipleIntegers(reason.classID, reason.methodID)
        case .connectionBlocked(let reason):
            buffer.writeShortString(reason)
        case .connectionUpdateSecret(let secret, let reason):
            buffer.writeLongString(secret)
            buffer.writeShortString(reason)
        case .connectionOpenOk, .channelOpen, .basicGetEmpty:
            buffer.writeShortString("")
        case .channelOpenOk:
            buffer.writeLongString(ByteBuffer())
        case .channelFlow(let isActive), .channelFlowOk(let isActive):
            buffer.writeBits(isActive)
        case .exchangeDeclare, .exchangeDelete, .exchangeBind, .exchangeUnbind:
            self.writeExchangeMethod(to: &buffer)
        case .queueDeclare, .queueDeclareOk, .queueBind, .queueUnbind, .queuePurge, .queuePurgeOk, .queueDelete,
            .queueDeleteOk:
            self.writeQueueMethod(to: &buffer)
        case .basicQos, .basicConsume, .basicConsumeOk, .basicCancel, .basicCancelOk, .basicPublish, .basicReturn,
            .basicDeliver, .basicGet, .basicGetOk, .basicAck, .basicReject, .basicRecover, .basicNack:
            self.writeBasicMethod(to: &buffer)
        case .confirmSelect(let noWait):
            buffer.writeBits(noWait)
        case .connectionCloseOk, .connectionUnblocked, .connectionUpdateSecretOk, .channelCloseOk, .exchangeDeclareOk,
            .exchangeDeleteOk, .exchangeBindOk, .exchangeUnbindOk, .queueBindOk, .queueUnbindOk, .basicQosOk,
            .basicRecoverOk, .confirmSelectOk:
            break
        }
    }

    private func writeExchangeMethod(to buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt16(0))
        switch self {
        case .exchangeDeclare(let exchange, let noWait):
            buffer.writeShortString(exchange.name)
            buffer.writeShortString(exchange.type)
            buffer.writeBits(
                exchange.isPassive,
                exchange.durable,
                exchange.autoDelete,
                exchange.isInternal,
                noWait
            )
            buffer.writeLongString(exchange.arguments.encoded)
        case .exchangeDelete(let name, let ifUnused, let noWait):
            buffer.writeShortString(name)
            buffer.writeBits(ifUnused, noWait)
        case .exchangeBind(let destination, let source, let routingKey, let arguments, let noWait),
            .exchangeUnbind(let destination, let source, let routingKey, let arguments, let noWait):
            buffer.writeShortString(destination)
            buffer.writeShortString(source)
            buffer.writeShortString(routingKey)
            buffer.writeBits(noWait)
            buffer.writeLongString(arguments.encoded)
        default: break
        }
    }

    private func writeQueueMethod(to buffer: inout ByteBuffer) {
        switch self {
        case .queueDeclareOk(let queue):
            buffer.writeShortString(queue.name)
            buffer.writeMultipleIntegers(queue.messageCount, queue.consumerCount)
            return
        case .queuePurgeOk(let messageCount), .queueDeleteOk(let messageCount):
            buffer.writeInteger(messageCount)
            return
        default: buffer.writeInteger(UInt16(0))
        }
        switch self {
        case .queueDeclare(let queue, let noWait):
            buffer.writeShortString(queue.name)
            buffer.writeBits(queue.isPassive, queue.durable, queue.exclusive, queue.autoDelete, noWait)
            buffer.writeLongString(queue.arguments.encoded)
        case .queueBind(let queue, let exchange, let routingKey, let arguments, let noWait):
            buffer.writeShortString(queue)
            buffer.writeShortString(exchange)
            buffer.writeShortString(routingKey)
            buffer.writeBits(noWait)
            buffer.writeLongString(arguments.encoded)
        case .queueUnbind(let queue, let exchange, let routingKey, let arguments):
            buffer.writeShortString(queue)
            buffer.writeShortString(exchange)
            buffer.writeShortString(routingKey)
            buffer.writeLongString(arguments.encoded)
        case .queuePurge(let name, let noWait):
            buffer.writeShortString(name)
            buffer.writeBits(noWait)
        case .queueDelete(let name, let ifUnused, let ifEmpty, let noWait):
            buffer.writeShortString(name)
            buffer.writeBits(ifUnused, ifEmpty, noWait)
        default: break
        }
    }

    private func writeBasicMethod(to buffer: inout ByteBuffer) {
        switch self {
        case .basicQos(let size, let count, let isGlobal):
            buffer.writeMultipleIntegers(size, count)
            buffer.writeBits(isGlobal)
        case .basicConsume(let consume):
            buffer.writeInteger(UInt16(0))
            buffer.writeShortString(consume.queue)
            buffer.writeShortString(consume.consumerTag)
            buffer.writeBits(consume.noLocal, consume.noAck, consume.isExclusive, consume.noWait)
            buffer.writeLongString(consume.arguments.encoded)
        case .basicConsumeOk(let tag), .basicCancelOk(let tag):
            buffer.writeShortString(tag)
        case .basicCancel(let tag, let noWait):
            buffer.writeShortString(tag)
            buffer.writeBits(noWait)
        case .basicPublish(let exchange, let routingKey, let isMandatory):
            buffer.writeInteger(UInt16(0))
            buffer.writeShortString(exchange)
            buffer.writeShortString(routingKey)
            buffer.writeBits(isMandatory)
        case .basicReturn(let code, let text, let exchange, let routingKey):
            buffer.writeInteger(code)
            buffer.writeShortString(text)
            buffer.writeShortString(exchange)
            buffer.writeShortString(routingKey)
        case .basicDeliver(let deliver):
            buffer.writeShortString(deliver.consumerTag)
            buffer.writeInteger(deliver.deliveryTag)
            buffer.writeBits(deliver.redelivered)
            buffer.writeShortString(deliver.exchange)
            buffer.writeShortString(deliver.routingKey)
        case .basicGet(let queue, let noAck):
            buffer.writeInteger(UInt16(0))
            buffer.writeShortString(queue)
            buffer.writeBits(noAck)
        case .basicGetOk(let tag, let redelivered, let exchange, let routingKey, let count):
            buffer.writeInteger(tag)
            buffer.writeBits(redelivered)
            buffer.writeShortString(exchange)
            buffer.writeShortString(routingKey)
            buffer.writeInteger(count)
        case .basicAck(let tag, let isMultiple):
            buffer.writeInteger(tag)
            buffer.writeBits(isMultiple)
        case .basicReject(let tag, let requeue):
            buffer.writeInteger(tag)
            buffer.writeBits(requeue)
        case .basicNack(let tag, let isMultiple, let requeue):
            buffer.writeInteger(tag)
            buffer.writeBits(isMultiple, requeue)
        case .basicRecover(let requeue):
            buffer.writeBits(requeue)
        default: break
        }
    }
}

extension ByteBuffer {
    /// Neighbouring bits share an octet, the first in its lowest bit (AMQP 0-9-1, 4.2.5.2).
    fileprivate mutating func writeBits(_ bits: Bool...) {
        var octet: UInt8 = 0
        for (position, bit) in bits.enumerated() where bit { octet |= 1 << UInt8(position) }
        self.writeInteger(octet)
    }
}
