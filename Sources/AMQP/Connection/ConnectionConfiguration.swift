import NIOCore

/// Who connects, and how it proves that.
public struct Credentials: Sendable, Equatable {
    /// The ways of authentication (RabbitMQ, "Access control").
    public enum Mechanism: String, Sendable, CaseIterable {
        case plain = "PLAIN"
        case amqplain = "AMQPLAIN"
        /// By the client's certificate.
        case external = "EXTERNAL"
    }

    public var user: String
    public var password: String
    public var mechanism: Mechanism

    public init(user: String = "guest", password: String = "guest", mechanism: Mechanism = .plain) {
        self.user = user
        self.password = password
        self.mechanism = mechanism
    }

    var response: ByteBuffer {
        switch self.mechanism {
        case .plain: ByteBuffer(string: "\0\(self.user)\0\(self.password)")
        case .amqplain:
            FieldTable(dictionaryLiteral: ("LOGIN", .string(self.user)), ("PASSWORD", .string(self.password))).encoded
        case .external: ByteBuffer()
        }
    }
}

/// TLS for `amqps`. Paths are of PEM files.
public struct TLSOptions: Sendable, Equatable {
    /// Of the authorities to trust; `nil` for the system's.
    public var authorities: String?
    /// The client's certificate, with its chain.
    public var certificate: String?
    public var key: String?
    /// Whether the server must prove who it is.
    public var verifiesServer: Bool
    /// The name in the server's certificate, if it is not the host's.
    public var serverName: String?

    public init(
        authorities: String? = nil,
        certificate: String? = nil,
        key: String? = nil,
        verifiesServer: Bool = true,
        serverName: String? = nil
    ) {
        self.authorities = authorities
        self.certificate = certificate
        self.key = key
        self.verifiesServer = verifiesServer
        self.serverName = serverName
    }
}

/// One broker: where it is, and what to say to be let in.
public struct Endpoint: Sendable, Equatable {
    public var host: String
    public var port: Int
    public var virtualHost: String
    public var credentials: Credentials
    public var tls: TLSOptions?
    /// Seconds; `nil` for the configuration's. 0 for none.
    public var heartbeat: UInt16?
    /// How long a TCP connection may take, in seconds; `nil` for the configuration's.
    public var connectTimeout: Double?

    public init(
        host: String,
        port: Int = 5672,
        virtualHost: String = "/",
        credentials: Credentials = Credentials(),
        tls: TLSOptions? = nil,
        heartbeat: UInt16? = nil,
        connectTimeout: Double? = nil
    ) {
        self.host = host
        self.port = port
        self.virtualHost = virtualHost
        self.credentials = credentials
        self.tls = tls
        self.heartbeat = heartbeat
        self.connectTimeout = connectTimeout
    }

    /// For people: without credentials.
    public var address: String { self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)" }
}

/// How to be a client of a broker.
public struct ConnectionConfiguration: Sendable, Equatable {
    public var endpoint: Endpoint
    /// Seconds between signs of life that we ask for; the broker's wish, if it is shorter, counts. 0 for none.
    public var heartbeat: UInt16
    /// Seconds.
    public var connectTimeout: Double
    /// How long the whole handshake may take once there is a TCP connection, in seconds.
    public var handshakeTimeout: Double
    /// The largest frame that we take, in bytes; 0 for whatever the broker says.
    public var frameMax: UInt32
    /// The highest channel number that we use; 0 for whatever the broker says.
    public var channelMax: UInt16
    /// What the broker shows of this client.
    public var clientProperties: FieldTable

    /// - Parameters:
    ///   - product: the client's name, as the broker shows it.
    ///   - connectionName: what this connection is for, as the broker shows it.
    public init(
        endpoint: Endpoint,
        heartbeat: UInt16 = 60,
        connectTimeout: Double = 4,
        handshakeTimeout: Double = 10,
        frameMax: UInt32 = 131_072,
        channelMax: UInt16 = 2047,
        product: String = "armada-agent",
        connectionName: String? = nil
    ) {
        self.endpoint = endpoint
        self.heartbeat = heartbeat
        self.connectTimeout = connectTimeout
        self.handshakeTimeout = handshakeTimeout
        self.frameMax = frameMax
        self.channelMax = channelMax
        self.clientProperties = [
            "product": .string(product),
            "platform": .string("Swift"),
            "capabilities": .table([
                "consumer_cancel_notify": .bool(true),
                "connection.blocked": .bool(true),
                "authentication_failure_close": .bool(true),
                "publisher_confirms": .bool(true),
                "basic.nack": .bool(true),
            ]),
        ]
        if let connectionName { self.clientProperties.append("connection_name", .string(connectionName)) }
    }

    /// Answers a broker's wishes. For sizes the smaller counts, and 0 is no limit; for the heartbeat the smaller counts too, the broker's
    /// 0 leaves it to us, and our 0 means none (`amqp/connection.py`, `_on_tune`).
    func negotiate(_ offer: Method.Tune) -> Method.Tune {
        let wish = self.endpoint.heartbeat ?? self.heartbeat
        let heartbeat = wish == 0 ? 0 : Self.smaller(wish, offer.heartbeat)
        let frameMax = Self.smaller(self.frameMax, offer.frameMax)
        return Method.Tune(
            channelMax: Self.smaller(self.channelMax, offer.channelMax),
            // No peer may ask for less than this (AMQP 0-9-1, 4.2.3).
            frameMax: frameMax == 0 ? 0 : max(frameMax, 4096),
            heartbeat: heartbeat
        )
    }

    private static func smaller<Value: FixedWidthInteger>(_ left: Value, _ right: Value) -> Value {
        left == 0 || right == 0 ? max(left, right) : min(left, right)
    }
}
