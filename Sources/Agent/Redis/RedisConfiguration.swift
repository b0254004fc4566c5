/// How the Redis with the task definition is reached.
public struct RedisConfiguration: Sendable {
    /// Files for TLS, all in PEM.
    public struct TLS: Sendable {
        /// The authorities that the server's certificate is verified with; `nil` for the system's.
        public var authorities: String?
        /// Our own certificate and its chain.
        public var certificate: String?
        /// The key of `certificate`.
        public var key: String?

        public init(authorities: String? = nil, certificate: String? = nil, key: String? = nil) {
            self.authorities = authorities
            self.certificate = certificate
            self.key = key
        }
    }

    public var host: String
    public var port: Int
    /// Needs a password; without a user, a password is the default user's.
    public var user: String?
    /// A secret.
    public var password: String?
    /// Selected after authentication, unless it's 0.
    public var database = 0
    /// `nil` for a connection in the clear.
    public var tls: TLS?
    /// Bounds the connecting, and each command with its answer (the first one with the TLS handshake).
    public var timeout: Duration = .seconds(5)
    /// The largest value accepted, in bytes; 512 MiB is the largest that Redis keeps.
    public var maximumValue = 512 << 20

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// `host:port`, an IPv6 address in brackets.
    public var address: String {
        self.host.utf8.contains(UInt8(ascii: ":")) ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)"
    }
}
