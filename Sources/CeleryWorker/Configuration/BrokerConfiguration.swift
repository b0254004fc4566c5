public import AMQP
import Celery
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

    /// Reads the broker settings of a project (`broker_url` and those beside it).
    /// - Parameter setting: the URL's: `broker_read_url` or `broker_write_url`; where it is unset, `broker_url` counts.
    init(_ project: Project, setting: String, node: NodeName) throws(ConfigurationProblem) {
        let value = project.setting(setting).flatMap { $0.isNull ? nil : $0 } ?? project.setting("broker_url")
        let texts: [String] =
            switch value {
            case .string(let text)?: [text]
            case .array(let elements)?: elements.compactMap(\.string)
            default: []
            }
        var urls: [ConnectionURL] = []
        do throws(ConnectionURLError) {
            for text in texts { urls += try ConnectionURL.list(text) }
        } catch {
            throw ConfigurationProblem(setting: "broker_url", found: error.found, expected: error.expected)
        }
        if urls.isEmpty { urls = [ConnectionURL(endpoint: Endpoint(host: "localhost"))] }
        if let method = project.setting("broker_login_method")?.string,
            let mechanism = Credentials.Mechanism(rawValue: method.uppercased())
        {
            for index in urls.indices { urls[index].endpoint.credentials.mechanism = mechanism }
        }
        if let tls = TLSOptions(project.setting("broker_use_ssl")) {
            for index in urls.indices where urls[index].endpoint.tls == nil { urls[index].endpoint.tls = tls }
        }
        self.init(
            urls: urls,
            connectionName: "armada-agent \(node)",
            heartbeat: UInt16(clamping: Int(project.setting("broker_heartbeat")?.double ?? 120)),
            connectTimeout: project.setting("broker_connection_timeout")?.double ?? 4,
            recovery: RecoveryPolicy(project)
        )
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
            "connect_timeout": .number(endpoint.connectTimeout ?? self.connectTimeout),
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

extension RecoveryPolicy {
    /// Celery's settings for connecting anew (`celery/worker/consumer/consumer.py`, `ensure_connected`).
    fileprivate init(_ project: Project) {
        let retries = project.setting("broker_connection_retry")?.bool ?? true
        let retriesAtStart = project.setting("broker_connection_retry_on_startup")?.bool ?? retries
        let limit = project.setting("broker_connection_max_retries")
        // 0 and none are no limit.
        let attempts = (limit == nil ? 100 : limit?.int).flatMap { $0 > 0 ? $0 : nil }
        self.init(
            maximumAttempts: retries ? attempts : 0,
            failover: project.setting("broker_failover_strategy")?.string == "shuffle" ? .shuffle : .roundRobin
        )
        self.maximumAttemptsAtStart = retriesAtStart ? attempts : 0
    }
}

extension TLSOptions {
    /// `broker_use_ssl`: `True`, or the arguments of Python's `ssl.wrap_socket`.
    fileprivate init?(_ setting: JSON?) {
        switch setting {
        case .bool(true)?: self.init()
        case .object(let options)? where !options.isEmpty:
            // `ssl.CERT_NONE` is 0, and text where a project writes it so.
            let requirement = options["cert_reqs"]
            let isLenient = requirement?.int == 0 || requirement?.string?.uppercased().hasSuffix("NONE") == true
            self.init(
                authorities: options["ca_certs"]?.string,
                certificate: options["certfile"]?.string,
                key: options["keyfile"]?.string,
                verifiesServer: !isLenient,
                serverName: options["server_hostname"]?.string
            )
        default: return nil
        }
    }
}

extension JSON {
    /// A whole number as an integer, as projects write it.
    static func number(_ value: Double) -> JSON {
        value == value.rounded() && abs(value) < 1e15 ? .int(Int64(value)) : .double(value)
    }
}
