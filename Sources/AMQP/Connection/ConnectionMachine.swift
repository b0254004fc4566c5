import NIOCore

/// The life of a connection, from the protocol header to the last `close-ok` (AMQP 0-9-1, 2.2.4). No I/O, no clock.
struct ConnectionMachine: Sendable {
    enum State: Sendable, Equatable {
        case awaitingStart
        case awaitingTune
        case awaitingOpenOk
        case open
        /// We have sent `connection.close`, for this reason; everything but the answer is ignored (AMQP 0-9-1, 1.4.2.9).
        case closing(AMQPError)
        case closed
    }

    /// What to do about a method on channel 0.
    enum Action: Sendable, Equatable {
        case none
        case send(Method)
        /// Apply these limits to what follows, and send.
        case tune(Method.Tune, send: [Method])
        case opened
        case blocked(reason: String)
        case unblocked
        case secretUpdated
        /// Send `close-ok`, then end the connection with this error.
        case answerClose(AMQPError)
        /// Our close was answered: end the connection.
        case finish(AMQPError)
        /// The peer broke the protocol: send `connection.close`, then end the connection with this error.
        case violate(AMQPError, send: Method?)
    }

    private(set) var state = State.awaitingStart
    private(set) var serverProperties = FieldTable()
    private let configuration: ConnectionConfiguration

    init(configuration: ConnectionConfiguration) { self.configuration = configuration }

    var isOpen: Bool { self.state == .open }

    mutating func received(_ method: Method) -> Action {
        if case .connectionClose(let reason) = method { return self.receivedClose(reason) }
        switch (self.state, method) {
        case (.closing(let error), .connectionCloseOk):
            self.state = .closed
            return .finish(error)
        case (.closing, _), (.closed, _): return .none
        case (.awaitingStart, .connectionStart(let properties, let mechanisms, _)):
            return self.start(properties, mechanisms)
        case (.awaitingTune, .connectionSecure):
            // None of the mechanisms that we offer has a second round.
            return self.violate("a challenge, which no mechanism in use has")
        case (.awaitingTune, .connectionTune(let offer)):
            let tune = self.configuration.negotiate(offer)
            self.state = .awaitingOpenOk
            return .tune(
                tune,
                send: [.connectionTuneOk(tune), .connectionOpen(virtualHost: self.configuration.endpoint.virtualHost)]
            )
        case (.awaitingOpenOk, .connectionOpenOk):
            self.state = .open
            return .opened
        case (.open, .connectionBlocked(let reason)): return .blocked(reason: reason)
        case (.open, .connectionUnblocked): return .unblocked
        case (.open, .connectionUpdateSecretOk): return .secretUpdated
        default:
            let id = method.id
            return self.violate("method \(id.classID).\(id.methodID), which may not come at this point")
        }
    }

    private mutating func start(_ properties: FieldTable, _ mechanisms: ByteBuffer) -> Action {
        self.serverProperties = properties
        let offered = String(buffer: mechanisms).split(separator: " ").map(String.init)
        let mechanism = self.configuration.endpoint.credentials.mechanism
        guard offered.contains(mechanism.rawValue) else {
            self.state = .closed
            return .violate(
                AMQPError(
                    .unsupportedMechanism,
                    "the broker offers \(offered.joined(separator: ", ")), where \(mechanism.rawValue) is configured"
                ),
                send: nil
            )
        }
        self.state = .awaitingTune
        return .send(
            .connectionStartOk(
                clientProperties: self.configuration.clientProperties,
                mechanism: mechanism.rawValue,
                response: self.configuration.endpoint.credentials.response,
                locale: "en_US"
            )
        )
    }

    private mutating func receivedClose(_ reason: CloseReason) -> Action {
        let error: AMQPError =
            switch (self.state, reason.replyCode) {
            case (.awaitingTune, 403): AMQPError(.authenticationRefused, reason.replyText, reply: reason)
            case (.awaitingOpenOk, 403), (.awaitingOpenOk, 530), (.awaitingOpenOk, 402):
                AMQPError(.virtualHostRefused, reason.replyText, reply: reason)
            case (.closing(let error), _): error
            default: AMQPError(.connectionClosedByBroker, reason.replyText, reply: reason)
            }
        self.state = .closed
        return .answerClose(error)
    }

    private mutating func violate(_ what: String) -> Action { self.violate(.syntax(what)) }

    /// The peer sent what it may not send.
    mutating func violate(_ error: AMQPError, replyCode: UInt16 = 501) -> Action {
        guard self.state != .closed else { return .none }
        self.state = .closed
        let reason = CloseReason(replyCode: replyCode, replyText: error.message)
        return .violate(error, send: .connectionClose(reason))
    }

    /// Whether our close waits for its answer.
    var isClosing: Bool {
        if case .closing = self.state { return true }
        return false
    }

    /// The user closes the connection. Returns what to send, or `nil` if there is nothing to say any more.
    mutating func close() -> Method? {
        if self.isClosing { return nil }
        guard self.state == .open else {
            self.state = .closed
            return nil
        }
        self.state = .closing(AMQPError(.closed, "this connection was closed"))
        return .connectionClose(CloseReason(replyCode: 200, replyText: "Goodbye"))
    }

    /// The socket is closed. Returns why, as far as is known here.
    mutating func disconnected(_ cause: AMQPError?) -> AMQPError {
        defer { self.state = .closed }
        switch self.state {
        case .closing(let error): return error
        case .awaitingTune:
            // A broker that knows no `authentication_failure_close` closes the socket (RabbitMQ, "Authentication failures").
            return cause ?? AMQPError(.authenticationRefused, "it closed the socket when it had read them")
        default: return cause ?? AMQPError(.connectionLost, "the broker closed the socket")
        }
    }
}
