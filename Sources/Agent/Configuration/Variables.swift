import Logging

/// Every environment variable that the agent knows.
enum Variables {
    private static let http = ["http", "https"]
    private static let amqp = ["amqp", "amqps", "pyamqp"]

    // The platform's.
    static let runID = EnvironmentVariable(
        "RUN_ID",
        .identifier,
        default: "",
        shown: "required",
        isRequired: true,
        "The run: the name of its queue, and the first half of the task definition's key in Redis."
    )
    static let podIndex = EnvironmentVariable(
        "POD_INDEX",
        .index,
        default: "0",
        shown: "`0`",
        "The agent's index: the second half of the key; the node is `worker{POD_INDEX}@{hostname}`."
    )
    static let rabbitMQURL = EnvironmentVariable(
        "RABBITMQ_URL",
        .urlList(amqp),
        default: "amqp://localhost:5672",
        shown: "`amqp://localhost:5672`",
        "The broker, in Celery's syntax: `amqps://` for TLS, `;` between the URLs of a failover list."
    )
    static let redisHost = EnvironmentVariable(
        "REDIS_HOST_VAR_ENV",
        .host,
        default: "localhost",
        shown: "`localhost`",
        "Host of the Redis that holds the task definition."
    )
    static let redisPort = EnvironmentVariable(
        "REDIS_PORT_VAR_ENV",
        .number(1...65535),
        default: 6379,
        shown: "`6379`",
        "Its port."
    )
    static let backendURL = EnvironmentVariable(
        "BACKEND_URL",
        .url(http),
        default: "http://localhost:8000",
        shown: "`http://localhost:8000`",
        "The monitoring API."
    )
    static let proxyProviderURL = EnvironmentVariable(
        "PROXY_PROVIDER_URL",
        .url(http + ["socks5", "socks5h"]),
        default: "http://127.0.0.1:5001",
        shown: "`http://127.0.0.1:5001`",
        "The proxy provider, or in `direct` mode the upstream proxy itself."
    )
    static let fingerprintProviderURL = EnvironmentVariable(
        "FINGERPRINT_PROVIDER_URL",
        .url(http),
        default: "http://localhost:5005",
        shown: "`http://localhost:5005`",
        "The fingerprint provider."
    )
    static let sqlServerName = EnvironmentVariable(
        "SQL_SERVER_NAME",
        ValueFormat<String>.text.optional,
        default: nil,
        shown: "none",
        "Host of the SQL Server."
    )
    static let sqlServerPort = EnvironmentVariable(
        "SQL_SERVER_PORT",
        .number(1...65535),
        default: 1433,
        shown: "`1433`",
        "Its port."
    )
    static let sqlServerDatabase = EnvironmentVariable(
        "SQL_SERVER_DB",
        ValueFormat<String>.text.optional,
        default: nil,
        shown: "none",
        "Its database."
    )
    static let sqlServerUser = EnvironmentVariable(
        "SQL_SERVER_USER",
        ValueFormat<String>.text.optional,
        default: nil,
        shown: "none",
        "The user to log in as."
    )
    static let sqlServerPassword = EnvironmentVariable(
        "SQL_SERVER_PASSWORD",
        ValueFormat<String>.anything.optional,
        default: nil,
        shown: "none",
        isSecret: true,
        "The user's password."
    )
    static let requirements = EnvironmentVariable(
        "REQUIREMENTS_TXT",
        ValueFormat<String>.anything.optional,
        default: nil,
        shown: "empty",
        isSecret: true,
        "A `requirements.txt` in base64, installed before the user's code is loaded."
    )

    // Ours.
    static let redisUser = EnvironmentVariable(
        "AGENT_REDIS_USER",
        ValueFormat<String>.anything.optional,
        default: nil,
        shown: "none",
        "Redis user; needs `AGENT_REDIS_PASSWORD`."
    )
    static let redisPassword = EnvironmentVariable(
        "AGENT_REDIS_PASSWORD",
        ValueFormat<String>.anything.optional,
        default: nil,
        shown: "none",
        isSecret: true,
        "Redis password, of `AGENT_REDIS_USER` or of the default user."
    )
    static let redisDatabase = EnvironmentVariable(
        "AGENT_REDIS_DB",
        .number(0...65535),
        default: 0,
        shown: "`0`",
        "Redis database."
    )
    static let redisTLS = EnvironmentVariable(
        "AGENT_REDIS_TLS",
        .boolean,
        default: false,
        shown: "`false`",
        "Whether Redis is reached over TLS, its certificate verified."
    )
    static let redisTLSAuthorities = EnvironmentVariable(
        "AGENT_REDIS_TLS_CA",
        ValueFormat<String>.text.optional,
        default: nil,
        shown: "the system's",
        "PEM file of the authorities that Redis's certificate is verified with."
    )
    static let redisTLSCertificate = EnvironmentVariable(
        "AGENT_REDIS_TLS_CERT",
        ValueFormat<String>.text.optional,
        default: nil,
        shown: "none",
        "PEM file of the agent's own certificate and its chain."
    )
    static let redisTLSKey = EnvironmentVariable(
        "AGENT_REDIS_TLS_KEY",
        ValueFormat<String>.text.optional,
        default: nil,
        shown: "none",
        "PEM file of that certificate's key."
    )
    static let redisTimeout = EnvironmentVariable(
        "AGENT_REDIS_TIMEOUT",
        .seconds(0.1...300),
        default: .seconds(5),
        shown: "`5`",
        "Seconds that connecting to Redis, and each answer, may take."
    )
    static let definitionDeadline = EnvironmentVariable(
        "AGENT_DEFINITION_DEADLINE",
        .seconds(0...86400),
        default: .seconds(60),
        shown: "`60`",
        "Seconds for which the task definition is looked for before the agent exits with 69."
    )
    static let sqlConnections = EnvironmentVariable(
        "AGENT_SQL_CONNECTIONS",
        .number(1...1000),
        default: 8,
        shown: "`8`",
        "How many connections to the SQL Server the agent's workers share, at most."
    )
    static let sqlConnectTimeout = EnvironmentVariable(
        "AGENT_SQL_CONNECT_TIMEOUT",
        .number(1...3600),
        default: 60,
        shown: "`60`",
        "Seconds for connecting to the SQL Server and logging in, and for waiting until a connection is free."
    )
    static let sqlQueryTimeout = EnvironmentVariable(
        "AGENT_SQL_QUERY_TIMEOUT",
        .number(0...86400),
        default: 0,
        shown: "`0`",
        "Seconds that a statement may take with all its rows; 0 for no limit."
    )
    static let sqlIdleTimeout = EnvironmentVariable(
        "AGENT_SQL_IDLE_TIMEOUT",
        .number(1...86400),
        default: 60,
        shown: "`60`",
        "Seconds after which a connection to the SQL Server that nobody uses is closed."
    )
    static let proxyMitmdump = EnvironmentVariable(
        "AGENT_PROXY_MITMDUMP",
        ValueFormat<String>.text.optional,
        default: nil,
        shown: "`.mitmproxy/bin/mitmdump` beside the package, or `mitmdump`",
        "mitmproxy's mitmdump, which runs the proxies: a path, or a name on `PATH`."
    )
    static let proxyPort = EnvironmentVariable(
        "AGENT_PROXY_PORT",
        .number(0...65535),
        default: 8081,
        shown: "`8081`",
        "The port of `127.0.0.1` that a proxy listens on; 0 for any free one, as several Python processes need it."
    )
    static let proxyAuthorityDirectory = EnvironmentVariable(
        "AGENT_PROXY_CA_DIRECTORY",
        .text,
        default: "~/.mitmproxy",
        shown: "`~/.mitmproxy`",
        "The folder of mitmproxy's certificate authority, which is made there where it is missing, and of its `config.yaml`."
    )
    static let proxyUpstreamAuthorities = EnvironmentVariable(
        "AGENT_PROXY_UPSTREAM_CA",
        ValueFormat<String>.text.optional,
        default: nil,
        shown: "the system's",
        "PEM file of more authorities that the certificates of `https` upstream proxies are verified with."
    )
    static let python = EnvironmentVariable(
        "AGENT_PYTHON",
        ValueFormat<String>.text.optional,
        default: nil,
        shown: "`.venv/bin/python` beside the package, or `python3`",
        "The Python (3.10 or later) that runs the user's code: a path, or a name on `PATH`."
    )
    static let concurrency = EnvironmentVariable(
        "AGENT_CONCURRENCY",
        .number(1...1000),
        default: 1,
        shown: "`1`",
        "How many jobs run at the same time, each in a Python process of its own."
    )
    static let prefetchMultiplier = EnvironmentVariable(
        "AGENT_PREFETCH_MULTIPLIER",
        .number(0...65535),
        default: 1,
        shown: "`1`",
        "Jobs that are reserved for each Python process; 0 for no limit."
    )
    static let drainSeconds = EnvironmentVariable(
        "AGENT_DRAIN_SECONDS",
        .seconds(0...604_800),
        default: .zero,
        shown: "`0`",
        "Seconds that a warm shutdown waits for running jobs before it turns cold; 0 is as long as they take."
    )
    static let httpPort = EnvironmentVariable(
        "AGENT_HTTP_PORT",
        ValueFormat<Int>.number(1...65535).optional,
        default: nil,
        shown: "off",
        "Where `/livez`, `/readyz`, `/startupz` and `/metrics` are answered over HTTP."
    )
    static let httpHost = EnvironmentVariable(
        "AGENT_HTTP_HOST",
        .host,
        // Orchestrators and Prometheus ask a pod by its own address, and nothing that is answered is a secret.
        default: "0.0.0.0",
        shown: "`0.0.0.0`",
        "The address to listen on for that; `::` for IPv6 too."
    )
    static let maximumDeliveries = EnvironmentVariable(
        "AGENT_MAX_DELIVERIES",
        .number(0...1_000_000),
        default: 0,
        shown: "`0`",
        "After how many Python workers that it has cost a message which would be run again (lost with `reject_on_worker_lost`, or killed at "
            + "a hard time limit without `acks_on_failure_or_timeout`) is set aside, in the queue `<its queue>.set-aside`; 0 for never."
    )
    static let monitoring = EnvironmentVariable(
        "AGENT_MONITORING",
        ValueFormat<MonitoringMode>.choice,
        default: .direct,
        shown: "`direct`",
        "Whether a monitoring call lasts until the backend has it (`direct`), or until it is kept on the disk for delivery (`outbox`)."
    )
    static let monitoringOutbox = EnvironmentVariable(
        "AGENT_MONITORING_OUTBOX",
        .text,
        default: "/var/tmp/armada-agent",
        shown: "`/var/tmp/armada-agent`",
        "The folder for that; each agent has a folder of its own in it, `{RUN_ID}-{POD_INDEX}`. A volume that outlives the pod loses nothing with it."
    )
    static let logLevel = EnvironmentVariable(
        "AGENT_LOG_LEVEL",
        ValueFormat<Logger.Level>.choice,
        default: .info,
        shown: "`info`",
        "The least level to log: `trace`, `debug`, `info`, `notice`, `warning`, `error` or `critical`."
    )
    static let logFormat = EnvironmentVariable(
        "AGENT_LOG_FORMAT",
        ValueFormat<LogFormat>.choice,
        default: .text,
        shown: "`text`",
        "`text`, or `json` for one object per line."
    )

    /// All of them, in the order of the README's table.
    static let table: [EnvironmentVariableRow] = [
        runID.row, podIndex.row, rabbitMQURL.row, redisHost.row, redisPort.row, backendURL.row, proxyProviderURL.row,
        fingerprintProviderURL.row, sqlServerName.row, sqlServerPort.row, sqlServerDatabase.row, sqlServerUser.row,
        sqlServerPassword.row, requirements.row, redisUser.row, redisPassword.row, redisDatabase.row, redisTLS.row,
        redisTLSAuthorities.row,
        redisTLSCertificate.row, redisTLSKey.row, redisTimeout.row, definitionDeadline.row,
        sqlConnections.row, sqlConnectTimeout.row, sqlQueryTimeout.row, sqlIdleTimeout.row, proxyMitmdump.row,
        proxyPort.row,
        proxyAuthorityDirectory.row, proxyUpstreamAuthorities.row, python.row, concurrency.row,
        prefetchMultiplier.row, drainSeconds.row, maximumDeliveries.row, monitoring.row, monitoringOutbox.row,
        httpPort.row, httpHost.row,
        logLevel.row, logFormat.row,
    ]
}

extension AgentConfiguration {
    /// The README's table of environment variables, in Markdown, with a line feed at its end.
    public static var environmentTable: String {
        Variables.table.reduce(into: "| Variable | Default | Meaning |\n|---|---|---|\n") { table, row in
            table += "| `\(row.name)` | \(row.shownDefault) | \(row.meaning) |\n"
        }
    }

    /// The names of the variables whose values are secrets.
    public static var secretVariables: [String] {
        Variables.table.filter(\.isSecret).map(\.name)
    }
}
