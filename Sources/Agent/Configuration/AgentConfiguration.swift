public import AgentModules
import Logging

/// What the environment of a pod tells the agent. Every value is checked; what needs a server or a file to be checked
/// is not.
public struct AgentConfiguration: Sendable {
    /// `RUN_ID`: the run, its queue, and the first half of the task definition's key.
    public var runID: String
    /// `POD_INDEX`: a whole number as text, without leading zeros.
    public var podIndex: String
    /// `RABBITMQ_URL`: broker URLs in Celery's syntax, `;` between them. Holds secrets.
    public var rabbitMQURL: String
    /// Where the task definition is kept.
    public var redis: RedisConfiguration
    /// `AGENT_DEFINITION_DEADLINE`: how long the task definition is looked for.
    public var definitionDeadline: Duration
    /// What the modules talk to.
    public var modules: ModulesConfiguration
    /// `REQUIREMENTS_TXT`, still in base64; `nil` if there is nothing to install.
    public var requirements: String?
    /// `AGENT_PYTHON`: the interpreter to use, a path or a name on `PATH`.
    public var python: String?
    /// `AGENT_CONCURRENCY`: how many jobs run at the same time.
    public var concurrency: Int
    /// `AGENT_PREFETCH_MULTIPLIER`: jobs reserved for each of them; 0 for no limit.
    public var prefetchMultiplier: Int
    /// `AGENT_DRAIN_SECONDS`: how long a warm shutdown waits for running jobs; `nil` is as long as they take.
    public var drainLimit: Duration?
    /// `AGENT_HTTP_PORT` and `AGENT_HTTP_HOST`: where probes are answered; `nil` for nowhere.
    public var probes: ProbeServer.Address?
    /// `AGENT_MAX_DELIVERIES`: after how many Python workers that it has cost a message is set aside; `nil` for never.
    public var maximumDeliveries: Int?
    /// `AGENT_LOG_LEVEL`.
    public var logLevel: Logger.Level
    /// `AGENT_LOG_FORMAT`.
    public var logFormat: LogFormat

    /// Reads and checks all variables; an empty one counts as unset.
    ///
    /// - Parameter environment: the process's environment.
    /// - Throws: every problem at once, in the order of the README's table.
    public init(environment: [String: String]) throws(ConfigurationErrors) {
        var reader = EnvironmentReader(environment)
        self.init(reading: &reader)
        guard reader.problems.isEmpty else { throw ConfigurationErrors(problems: reader.problems) }
    }

    init(reading reader: inout EnvironmentReader) {
        self.runID = reader[Variables.runID]
        self.podIndex = reader[Variables.podIndex]
        self.rabbitMQURL = reader[Variables.rabbitMQURL]
        let host = reader[Variables.redisHost]
        let port = reader[Variables.redisPort]
        self.modules = ModulesConfiguration(reading: &reader)
        self.requirements = reader[Variables.requirements]
        self.redis = RedisConfiguration(host: host, port: port)
        self.redis.user = reader[Variables.redisUser]
        self.redis.password = reader[Variables.redisPassword]
        self.redis.database = reader[Variables.redisDatabase]
        self.redis.tls = Self.redisTLS(&reader)
        self.redis.timeout = reader[Variables.redisTimeout]
        if self.redis.user != nil, self.redis.password == nil {
            reader.report(
                Variables.redisPassword,
                found: "nothing",
                expected: "a password, since AGENT_REDIS_USER is set"
            )
        }
        self.definitionDeadline = reader[Variables.definitionDeadline]
        self.python = reader[Variables.python]
        self.concurrency = reader[Variables.concurrency]
        self.prefetchMultiplier = reader[Variables.prefetchMultiplier]
        let drain = reader[Variables.drainSeconds]
        self.drainLimit = drain == .zero ? nil : drain
        self.probes = ProbeServer.Address(reading: &reader)
        let deliveries = reader[Variables.maximumDeliveries]
        self.maximumDeliveries = deliveries == 0 ? nil : deliveries
        self.logLevel = reader[Variables.logLevel]
        self.logFormat = reader[Variables.logFormat]
    }

    private static func redisTLS(_ reader: inout EnvironmentReader) -> RedisConfiguration.TLS? {
        let isOn = reader[Variables.redisTLS]
        let authorities = reader[Variables.redisTLSAuthorities]
        let certificate = reader[Variables.redisTLSCertificate]
        let key = reader[Variables.redisTLSKey]
        guard isOn else {
            // Files for TLS without TLS: the connection would silently be open to all.
            for (variable, value) in [
                (Variables.redisTLSAuthorities, authorities), (Variables.redisTLSCertificate, certificate),
                (Variables.redisTLSKey, key),
            ] where value != nil {
                reader.report(variable, found: "a file", expected: "nothing, unless AGENT_REDIS_TLS is on")
            }
            return nil
        }
        if certificate != nil, key == nil {
            reader.report(Variables.redisTLSKey, found: "nothing", expected: "the key file of AGENT_REDIS_TLS_CERT")
        } else if key != nil, certificate == nil {
            reader.report(
                Variables.redisTLSCertificate,
                found: "nothing",
                expected: "the certificate file of AGENT_REDIS_TLS_KEY"
            )
        }
        return RedisConfiguration.TLS(authorities: authorities, certificate: certificate, key: key)
    }
}
