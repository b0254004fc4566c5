/// What can go wrong between this client and a broker.
public struct AMQPError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of an error.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        private enum Kind: String {
            case connectFailed = "can't connect"
            case tls = "TLS failed"
            case handshakeTimeout = "the handshake took too long"
            case authenticationRefused = "the broker refused the credentials"
            case virtualHostRefused = "the broker refused the virtual host"
            case unsupportedMechanism = "no common way to authenticate"
            case protocolViolation = "the broker broke the protocol"
            case connectionClosedByBroker = "the broker closed the connection"
            case channelClosedByBroker = "the broker closed the channel"
            case connectionLost = "the connection was lost"
            case heartbeatTimeout = "the broker fell silent"
            case closed = "closed"
            case consumerCancelled = "the broker ended the consumer"
            case blocked = "the broker accepts no messages now"
            case limit = "a limit was reached"
        }

        private let kind: Kind
        public var description: String { self.kind.rawValue }

        /// No connection could be made: name, network, or nobody listens.
        public static let connectFailed = Code(kind: .connectFailed)
        public static let tls = Code(kind: .tls)
        /// The server did not finish the handshake within its deadline.
        public static let handshakeTimeout = Code(kind: .handshakeTimeout)
        /// Reply code 403 while logging in.
        public static let authenticationRefused = Code(kind: .authenticationRefused)
        /// The virtual host doesn't exist, or may not be used.
        public static let virtualHostRefused = Code(kind: .virtualHostRefused)
        public static let unsupportedMechanism = Code(kind: .unsupportedMechanism)
        /// What came is not AMQP, or not what may come at this point.
        public static let protocolViolation = Code(kind: .protocolViolation)
        /// `connection.close` came.
        public static let connectionClosedByBroker = Code(kind: .connectionClosedByBroker)
        /// `channel.close` came.
        public static let channelClosedByBroker = Code(kind: .channelClosedByBroker)
        /// The socket was closed without a word.
        public static let connectionLost = Code(kind: .connectionLost)
        /// Nothing came for two heartbeat intervals.
        public static let heartbeatTimeout = Code(kind: .heartbeatTimeout)
        /// This connection or channel was closed by its user.
        public static let closed = Code(kind: .closed)
        /// `basic.cancel` came.
        public static let consumerCancelled = Code(kind: .consumerCancelled)
        /// `connection.blocked` is in force, and no more can wait.
        public static let blocked = Code(kind: .blocked)
        /// A bound of this client or of the broker.
        public static let limit = Code(kind: .limit)
    }

    public var code: Code
    public var message: String
    /// The broker's reply code, with the method that caused it, where the broker gave one.
    public var reply: CloseReason?

    public init(_ code: Code, _ message: String, reply: CloseReason? = nil) {
        self.code = code
        self.message = message
        self.reply = reply
    }

    /// Whether trying again, with nothing else changed, can't help.
    public var isPermanent: Bool {
        [.authenticationRefused, .virtualHostRefused, .unsupportedMechanism].contains(self.code)
    }

    public var description: String {
        guard let reply else { return "\(self.code): \(self.message)" }
        return "\(self.code): \(reply)"
    }

    static func syntax(_ what: String) -> AMQPError { AMQPError(.protocolViolation, "received \(what)") }
}

/// Why a peer closed a connection or a channel (AMQP 0-9-1, 1.2, "reply codes").
public struct CloseReason: Sendable, Equatable, CustomStringConvertible {
    public var replyCode: UInt16
    public var replyText: String
    /// The method that caused it; both 0 for none.
    public var classID: UInt16
    public var methodID: UInt16

    public init(replyCode: UInt16, replyText: String, classID: UInt16 = 0, methodID: UInt16 = 0) {
        self.replyCode = replyCode
        self.replyText = replyText
        self.classID = classID
        self.methodID = methodID
    }

    public var description: String {
        let method = self.classID == 0 && self.methodID == 0 ? "" : " (method \(self.classID).\(self.methodID))"
        return "\(self.replyCode) \(self.replyText)\(method)"
    }
}
