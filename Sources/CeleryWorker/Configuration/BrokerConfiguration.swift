public import AMQP
import JSON

/// Where the broker is, and how its connections are to be.
public struct BrokerConfiguration: Sendable {
    /// In the order in which they are tried.
    public var urls: [ConnectionURL]
    /// What the broker shows as the connections' purpose.
    public var connectionName: String
    /// Seconds; a URL's own counts for more. 0 for none.
    public var heartbeat: UInt16
    /// Seconds a TCP connection may take; a URL's own counts for more.
    public var connectTimeout: Double
    public var recovery: RecoveryPolicy

    public init(
        urls: [ConnectionURL],
        connectionName: String,
        heartbeat: UInt16 = 120,
        connectTimeout: Double = 4,
        recovery: RecoveryPolicy = RecoveryPolicy()
    ) {
        self.urls = urls
        self.connectionName = connectionName
        self.heartbeat = heartbeat
        self.connectTimeout = connectTimeout
        self.recovery = recovery
    }

    func connections(purpose: String) -> [ConnectionConfiguration] {
        self.urls.map { url in
            ConnectionConfiguration(
                endpoint: url.endpoint,
                heartbeat: self.heartbeat,
                connectTimeout: self.connectTimeout,
                connectionName: "\(self.connectionName) \(purpose)"
            )
        }
    }

    /// As `celery inspect stats` shows a broker (`kombu/connection.py`, `Connection.info`).
    var shown: JSON {
        guard let endpoint = self.urls.first?.endpoint else { return [:] }
        return [
            "hostname": .string(endpoint.host),
            "userid": .string(endpoint.credentials.user),
            "virtual_host": .string(endpoint.virtualHost),
            "port": .int(Int64(endpoint.port)),
            "insist": false,
            "ssl": .bool(endpoint.tls != nil),
            "transport": "amqp",
            "connect_timeout": .double(endpoint.connectTimeout ?? self.connectTimeout),
            "transport_options": [:],
            "login_method": .string(endpoint.credentials.mechanism.rawValue),
            "uri_prefix": .null,
            "heartbeat": .double(Double(endpoint.heartbeat ?? self.heartbeat)),
            "failover_strategy": .string(self.recovery.failover == .shuffle ? "shuffle" : "round-robin"),
            "alternates": .array(self.urls.dropFirst().map { .string("\($0)") }),
            "credential_provider": .null,
        ]
    }
}
