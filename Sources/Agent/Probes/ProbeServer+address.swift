extension ProbeServer.Address {
    /// As `AGENT_HTTP_PORT` and `AGENT_HTTP_HOST` say, without the rest of a pod's variables; `nil` if no port is set.
    public init?(environment: [String: String]) throws(ConfigurationErrors) {
        var reader = EnvironmentReader(environment)
        let address = Self(reading: &reader)
        guard reader.problems.isEmpty else { throw ConfigurationErrors(problems: reader.problems) }
        guard let address else { return nil }
        self = address
    }

    init?(reading reader: inout EnvironmentReader) {
        let host = reader[Variables.httpHost]
        guard let port = reader[Variables.httpPort] else { return nil }
        self.init(host: host, port: port)
    }
}
