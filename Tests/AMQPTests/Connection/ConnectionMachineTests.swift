import NIOCore
import Testing

@testable import AMQP

@Suite("Connection machine")
struct ConnectionMachineTests {
    typealias State = ConnectionMachine.State

    @Test("a handshake")
    func handshake() {
        var machine = Self.machine()
        let answer = machine.received(Self.start)
        guard case .send(.connectionStartOk(let properties, "PLAIN", let response, "en_US")) = answer else {
            Issue.record("\(answer)")
            return
        }
        #expect(response == ByteBuffer(string: "\0me\0secret"))
        guard case .table(let capabilities) = properties["capabilities"] else {
            Issue.record("no capabilities")
            return
        }
        for name in ["consumer_cancel_notify", "connection.blocked", "authentication_failure_close"] {
            #expect(capabilities[name] == .bool(true), "\(name)")
        }
        #expect(machine.serverProperties["product"]?.string == "RabbitMQ")

        let tune = Method.Tune(channelMax: 100, frameMax: 8192, heartbeat: 30)
        #expect(
            machine.received(.connectionTune(tune))
                == .tune(tune, send: [.connectionTuneOk(tune), .connectionOpen(virtualHost: "v")])
        )
        #expect(!machine.isOpen)
        #expect(machine.received(.connectionOpenOk) == .opened)
        #expect(machine.isOpen)
    }

    @Test("AMQPLAIN and EXTERNAL answer in their own ways")
    func mechanisms() throws {
        let amqplain = Credentials(user: "me", password: "secret", mechanism: .amqplain)
        var wire = ByteBuffer()
        wire.writeLongString(amqplain.response)
        let table = try wire.readTable()
        #expect(table["LOGIN"]?.string == "me" && table["PASSWORD"]?.string == "secret")
        #expect(Credentials(mechanism: .external).response.readableBytes == 0)
    }

    @Test("a mechanism that is not offered ends it without credentials sent")
    func unsupportedMechanism() {
        var machine = Self.machine()
        let action = machine.received(
            .connectionStart(serverProperties: [:], mechanisms: ByteBuffer(string: "EXTERNAL"), locales: ByteBuffer())
        )
        guard case .violate(let error, send: nil) = action else {
            Issue.record("\(action)")
            return
        }
        #expect(error.code == .unsupportedMechanism && error.isPermanent)
        #expect(machine.state == .closed)
    }

    @Test(
        "the smaller limit counts, and 0 is none",
        arguments: [
            // ours, the broker's, agreed
            (0, 0, 0), (0, 5000, 5000), (6000, 0, 6000), (6000, 5000, 5000), (5000, 6000, 5000),
        ] as [(UInt32, UInt32, UInt32)]
    )
    func tuneLimits(_ ours: UInt32, _ theirs: UInt32, _ agreed: UInt32) {
        let configuration = ConnectionConfiguration(
            endpoint: Endpoint(host: "h"),
            frameMax: ours,
            channelMax: UInt16(ours)
        )
        let tune = configuration.negotiate(
            Method.Tune(channelMax: UInt16(theirs), frameMax: theirs, heartbeat: 60)
        )
        #expect(tune.channelMax == UInt16(agreed))
        #expect(tune.frameMax == agreed)
    }

    @Test("frames of 4096 bytes are always allowed")
    func smallestFrame() {
        let configuration = ConnectionConfiguration(endpoint: Endpoint(host: "h"))
        #expect(configuration.negotiate(Method.Tune(channelMax: 1, frameMax: 100, heartbeat: 1)).frameMax == 4096)
    }

    @Test(
        "heartbeat: our 0 is none, the broker's 0 leaves it to us, else the shorter",
        arguments: [
            (0, 60, 0), (0, 0, 0), (30, 0, 30), (30, 60, 30), (60, 30, 30),
        ] as [(UInt16, UInt16, UInt16)]
    )
    func heartbeat(_ ours: UInt16, _ theirs: UInt16, _ agreed: UInt16) {
        let offer = Method.Tune(channelMax: 1, frameMax: 4096, heartbeat: theirs)
        let byConfiguration = ConnectionConfiguration(endpoint: Endpoint(host: "h"), heartbeat: ours)
        #expect(byConfiguration.negotiate(offer).heartbeat == agreed)
        let byURL = ConnectionConfiguration(endpoint: Endpoint(host: "h", heartbeat: ours), heartbeat: 7)
        #expect(byURL.negotiate(offer).heartbeat == agreed)
    }

    @Test("a close in each state is answered, and its error tells what failed")
    func closeInEachState() {
        let cases: [(ConnectionMachine, UInt16, AMQPError.Code)] = [
            (Self.machine(), 320, .connectionClosedByBroker),
            (Self.machine(.awaitingTune), 403, .authenticationRefused),
            (Self.machine(.awaitingTune), 320, .connectionClosedByBroker),
            (Self.machine(.awaitingOpenOk), 530, .virtualHostRefused),
            (Self.machine(.awaitingOpenOk), 403, .virtualHostRefused),
            (Self.machine(.open), 320, .connectionClosedByBroker),
            (Self.machine(.open), 530, .connectionClosedByBroker),
            (Self.closing, 320, .closed),
        ]
        for (machine, code, expected) in cases {
            var machine = machine
            let state = machine.state
            let reason = CloseReason(replyCode: code, replyText: "text")
            guard case .answerClose(let error) = machine.received(.connectionClose(reason)) else {
                Issue.record("\(state): no answer")
                continue
            }
            #expect(error.code == expected, "\(state), \(code)")
            if expected != .closed { #expect(error.reply == reason) }
            #expect(machine.state == .closed)
            #expect(machine.received(.connectionOpenOk) == .none, "nothing counts after the close")
        }
    }

    @Test("our close waits for its answer, and ignores all else")
    func ourClose() {
        var machine = Self.machine(.open)
        #expect(machine.close() == .connectionClose(CloseReason(replyCode: 200, replyText: "Goodbye")))
        #expect(machine.received(.connectionBlocked(reason: "x")) == .none)
        #expect(
            machine.received(.connectionStart(serverProperties: [:], mechanisms: .init(), locales: .init())) == .none
        )
        guard case .finish(let error) = machine.received(.connectionCloseOk) else {
            Issue.record("not finished")
            return
        }
        #expect(error.code == .closed)
        #expect(machine.close() == nil)
    }

    @Test("blocked, unblocked, a new secret")
    func whileOpen() {
        var machine = Self.machine(.open)
        #expect(machine.received(.connectionBlocked(reason: "memory")) == .blocked(reason: "memory"))
        #expect(machine.received(.connectionUnblocked) == .unblocked)
        #expect(machine.received(.connectionUpdateSecretOk) == .secretUpdated)
        #expect(machine.isOpen)
    }

    @Test("what may not come is a violation in each state", arguments: MethodSamples.connection)
    func violations(_ method: Method) {
        let allowed: [State: Set<Method.ID>] = [
            .awaitingStart: [Method.ID(10, 10)], .awaitingTune: [Method.ID(10, 30)],
            .awaitingOpenOk: [Method.ID(10, 41)],
            .open: [Method.ID(10, 60), Method.ID(10, 61), Method.ID(10, 71)],
        ]
        for (state, methods) in allowed where !methods.contains(method.id) && method.id != Method.ID(10, 50) {
            var machine = Self.machine(state)
            guard case .violate(let error, send: .connectionClose(let reason)) = machine.received(method) else {
                Issue.record("\(method.id) in \(state) was taken")
                continue
            }
            #expect(error.code == .protocolViolation)
            #expect(reason.replyCode == 501)
            #expect(machine.state == .closed)
        }
    }

    @Test("a second violation says nothing more")
    func violationOnce() {
        var machine = Self.machine(.open)
        let error = AMQPError.syntax("x")
        #expect(machine.violate(error, replyCode: 505) != .none)
        #expect(machine.violate(error) == .none)
    }

    @Test("what a closed socket means depends on the state")
    func disconnected() {
        let expected: [(ConnectionMachine, AMQPError.Code)] = [
            (Self.machine(), .connectionLost), (Self.machine(.awaitingTune), .authenticationRefused),
            (Self.machine(.awaitingOpenOk), .connectionLost), (Self.machine(.open), .connectionLost),
            (Self.closing, .closed),
        ]
        for (machine, code) in expected {
            var machine = machine
            #expect(machine.disconnected(nil).code == code)
            #expect(machine.state == .closed)
        }
        var machine = Self.machine(.awaitingTune)
        #expect(machine.disconnected(AMQPError(.tls, "x")).code == .tls, "a known cause counts more")
    }

    @Test("close before it is open says nothing")
    func closeDuringHandshake() {
        for state in [State.awaitingStart, .awaitingTune, .awaitingOpenOk] {
            var machine = Self.machine(state)
            #expect(machine.close() == nil)
            #expect(machine.state == .closed)
        }
    }

    // MARK: Helpers

    static let start = Method.connectionStart(
        serverProperties: ["product": .string("RabbitMQ")],
        mechanisms: ByteBuffer(string: "AMQPLAIN PLAIN"),
        locales: ByteBuffer(string: "en_US")
    )

    static func machine(_ state: State = .awaitingStart) -> ConnectionMachine {
        let credentials = Credentials(user: "me", password: "secret")
        var machine = ConnectionMachine(
            configuration: ConnectionConfiguration(
                endpoint: Endpoint(host: "h", virtualHost: "v", credentials: credentials)
            )
        )
        if state == .awaitingStart { return machine }
        _ = machine.received(Self.start)
        if state == .awaitingTune { return machine }
        _ = machine.received(.connectionTune(Method.Tune(channelMax: 0, frameMax: 0, heartbeat: 0)))
        if state == .awaitingOpenOk { return machine }
        _ = machine.received(.connectionOpenOk)
        return machine
    }

    static var closing: ConnectionMachine {
        var machine = Self.machine(.open)
        _ = machine.close()
        return machine
    }
}

extension ConnectionMachine.State: Hashable {
    public func hash(into hasher: inout Hasher) { hasher.combine("\(self)") }
}
