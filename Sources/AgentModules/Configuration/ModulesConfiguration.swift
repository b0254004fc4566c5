/// Where the modules find what they talk to.
public struct ModulesConfiguration: Sendable {
    /// `BACKEND_URL`, of the monitoring API.
    public var backendURL: String
    /// `AGENT_MONITORING_OUTBOX`, where `AGENT_MONITORING` asks for one: the folder of what is kept for the backend.
    public var outbox: String?
    /// The user's proxies.
    public var proxy: ProxyConfiguration
    /// `FINGERPRINT_PROVIDER_URL`.
    public var fingerprintProviderURL: String
    /// The user's SQL Server.
    public var sqlServer: SQLServerConfiguration

    public init(
        backendURL: String,
        outbox: String? = nil,
        proxy: ProxyConfiguration,
        fingerprintProviderURL: String,
        sqlServer: SQLServerConfiguration
    ) {
        self.backendURL = backendURL
        self.outbox = outbox
        self.proxy = proxy
        self.fingerprintProviderURL = fingerprintProviderURL
        self.sqlServer = sqlServer
    }
}

/// The user's SQL Server; each value without a default may be unset until it's needed.
public struct SQLServerConfiguration: Sendable {
    /// `SQL_SERVER_NAME`: a host, with an instance (`host\instance`) or a port (`host,1433`, `host:1433`) where it has one.
    public var name: String?
    /// `SQL_SERVER_PORT`, where the name tells none.
    public var port: Int
    public var database: String?
    public var user: String?
    /// A secret.
    public var password: String?
    /// How many connections all workers share.
    public var connections: Int
    /// Seconds for connecting and logging in together, and for waiting until a connection is free.
    public var connectTimeout: Int
    /// Seconds for a statement with all its rows; 0 for no limit.
    public var queryTimeout: Int
    /// Seconds after which a connection that nobody uses is closed.
    public var idleTimeout: Int

    public init(
        name: String? = nil,
        port: Int = 1433,
        database: String? = nil,
        user: String? = nil,
        password: String? = nil,
        connections: Int = 8,
        connectTimeout: Int = 60,
        queryTimeout: Int = 0,
        idleTimeout: Int = 60
    ) {
        self.name = name
        self.port = port
        self.database = database
        self.user = user
        self.password = password
        self.connections = connections
        self.connectTimeout = connectTimeout
        self.queryTimeout = queryTimeout
        self.idleTimeout = idleTimeout
    }
}

// Printed or dumped, whole or in part, a configuration tells where it points and never its secrets.

extension ModulesConfiguration: CustomStringConvertible, CustomReflectable {
    public var description: String { "ModulesConfiguration" }
    public var customMirror: Mirror { Mirror(self, children: ["proxy": self.proxy, "sqlServer": self.sqlServer]) }
}

extension SQLServerConfiguration: CustomStringConvertible, CustomReflectable {
    public var description: String { "SQLServerConfiguration(\(self.name ?? "none"))" }
    public var customMirror: Mirror { Mirror(self, children: ["name": self.name ?? "none"]) }
}
