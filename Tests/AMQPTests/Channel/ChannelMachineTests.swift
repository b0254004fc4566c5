import Testing

@testable import AMQP

@Suite("Channel machine")
struct ChannelMachineTests {
    private static let qos = Method.basicQos(prefetchSize: 0, prefetchCount: 1, isGlobal: false)
    private static let qosReply: Set<Method.ID> = [Method.ID(60, 11)]
    private static let close = Method.channelClose(CloseReason(replyCode: 200, replyText: "Goodbye"))
    private static let closeReply: Set<Method.ID> = [Method.ID(20, 41)]
    private static let lost = AMQPError(.connectionLost, "x")

    @Test("one request is with the broker at a time, in the order of the calls")
    func oneAtATime() {
        var machine = ChannelMachine<Int>()
        #expect(machine.sends(Self.qos, Self.qosReply, 1) == true)
        #expect(machine.waits(Self.qos, Self.qosReply, 2) == true)
        #expect(machine.waits(.confirmSelect(noWait: false), [Method.ID(85, 11)], 3) == true)
        guard case .resume(1, .basicQosOk, Self.qos, .some(Self.qos)) = machine.received(.basicQosOk),
            case .resume(2, .basicQosOk, Self.qos, .some(.confirmSelect(false))) = machine.received(.basicQosOk),
            case .resume(3, .confirmSelectOk, .confirmSelect(false), .none) = machine.received(.confirmSelectOk)
        else {
            Issue.record("not in order")
            return
        }
        #expect(machine.sends(Self.qos, Self.qosReply, 4) == true)
    }

    @Test("an answer that fits no request, or the wrong one, is a violation")
    func wrongReply() {
        var machine = ChannelMachine<Int>()
        guard case .violation(let error) = machine.received(.basicQosOk) else {
            Issue.record("an answer to nothing was taken")
            return
        }
        #expect(error.code == .protocolViolation)
        _ = machine.request(Self.qos, replies: Self.qosReply, waiter: 1)
        guard case .violation = machine.received(.confirmSelectOk) else {
            Issue.record("a wrong answer was taken")
            return
        }
        #expect(machine.ended(Self.lost) == [1], "its waiter still waits")
    }

    @Test("either of two answers fits a get")
    func alternatives() {
        for reply in [
            Method.basicGetEmpty,
            .basicGetOk(deliveryTag: 1, redelivered: false, exchange: "", routingKey: "", messageCount: 0),
        ] {
            var machine = ChannelMachine<Int>()
            _ = machine.request(
                .basicGet(queue: "q", noAck: true),
                replies: [Method.ID(60, 71), Method.ID(60, 72)],
                waiter: 1
            )
            guard case .resume(1, reply, .basicGet, .none) = machine.received(reply) else {
                Issue.record("\(reply) was not taken")
                continue
            }
        }
    }

    @Test("a close goes after what was asked before, and nothing after it")
    func closeIsLast() {
        var machine = ChannelMachine<Int>()
        _ = machine.request(Self.qos, replies: Self.qosReply, waiter: 1)
        #expect(machine.waits(Self.close, Self.closeReply, 2) == true)
        #expect(machine.fails(Self.qos, Self.qosReply, 3) == .closed, "asked behind a queued close")
        #expect(machine.isOpen)
        guard case .resume(1, _, _, .some(Self.close)) = machine.received(.basicQosOk) else {
            Issue.record("the close was not sent")
            return
        }
        #expect(machine.state == .closing)
        #expect(machine.fails(Self.qos, Self.qosReply, 4) == .closed)
        guard case .ignore = machine.received(.confirmSelectOk) else {
            Issue.record("something counts while closing")
            return
        }
        guard case .resume(2, .channelCloseOk, Self.close, .none) = machine.received(.channelCloseOk) else {
            Issue.record("the close was not answered")
            return
        }
        guard case .closed(let error) = machine.state else {
            Issue.record("not closed")
            return
        }
        #expect(error.code == .closed)
    }

    @Test("the end gives back all who wait, once, in order, and later requests fail with its error")
    func end() {
        var machine = ChannelMachine<Int>()
        for waiter in 1...4 { _ = machine.request(Self.qos, replies: Self.qosReply, waiter: waiter) }
        _ = machine.received(.basicQosOk)
        #expect(machine.ended(Self.lost) == [2, 3, 4])
        #expect(machine.ended(AMQPError(.closed, "y")) == [])
        #expect(machine.fails(Self.qos, Self.qosReply, 5) == .connectionLost)
        guard case .ignore = machine.received(.basicQosOk) else {
            Issue.record("an answer counts after the end")
            return
        }
    }
}

extension ChannelMachine {
    fileprivate mutating func sends(_ method: Method, _ replies: Set<Method.ID>, _ waiter: Waiter) -> Bool {
        guard case .send(let sent) = self.request(method, replies: replies, waiter: waiter) else { return false }
        return sent == method
    }

    fileprivate mutating func waits(_ method: Method, _ replies: Set<Method.ID>, _ waiter: Waiter) -> Bool {
        guard case .wait = self.request(method, replies: replies, waiter: waiter) else { return false }
        return true
    }

    fileprivate mutating func fails(_ method: Method, _ replies: Set<Method.ID>, _ waiter: Waiter) -> AMQPError.Code? {
        guard case .fail(_, let error) = self.request(method, replies: replies, waiter: waiter) else { return nil }
        return error.code
    }
}
