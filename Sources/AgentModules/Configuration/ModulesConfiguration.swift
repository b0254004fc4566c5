/// Where the modules find what they talk to.
public struct ModulesConfiguration: Sendable {
    /// `BACKEND_URL`, of the monitoring API.
    public var backendURL: String
    /// `PROXY_PROVIDER_URL`: the provider, or the upstream proxy. May hold secrets.
    public var proxyProviderURL: String
    /// `FINGERPRINT_PROVIDER_URL`.
    public var fingerprintProviderURL: String
    /// The user's SQL Server.
    public var sqlServer: SQLServerConfiguration

    public init(
        backendURL: String,
        proxyProviderURL: String,
        fingerprintProviderURL: String,
        sqlServer: SQLServerConfiguration
    ) {
        self.backendURL = backendURL
        self.proxyProviderURL = proxyProviderURL
        self.fingerprintProviderURL = fingerprintProviderURL
        self.sqlServer = sqlServer
    }
}

/// The user's SQL Server; each value may be unset until it's needed.
public struct SQLServerConfiguration: Sendable {
    public var name: String?
    public var database: String?
    public var user: String?
    /// A secret.
    public var password: String?

    public init(name: String? = nil, database: String? = nil, user: String? = nil, password: String? = nil) {
        self.name = name
        self.database = database
        self.user = user
        self.password = password
    }
}

// Printed or dumped, whole or in part, a configuration tells where it points and never its secrets.

extension ModulesConfiguration: CustomStringConvertible, CustomReflectable {
    public var description: String { "ModulesConfiguration" }
    public var customMirror: Mirror { Mirror(self, children: ["sqlServer": self.sqlServer]) }
}

extension SQLServerConfiguration: CustomStringConvertible, CustomReflectable {
    public var description: String { "SQLServerConfiguration(\(self.name ?? "none"))" }
    public var customMirror: Mirror { Mirror(self, children: ["name": self.name ?? "none"]) }
}
