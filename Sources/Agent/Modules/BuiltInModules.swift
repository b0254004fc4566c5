public import AgentModules
public import CeleryWorker
public import Logging
public import NIOCore

/// The modules that this agent has.
public enum BuiltInModules {
    /// Reads what they need to know from the environment.
    /// - Throws: every problem at once, in the order of the README's table.
    public static func configuration(
        environment: [String: String]
    ) throws(ConfigurationErrors) -> ModulesConfiguration {
        var reader = EnvironmentReader(environment)
        let configuration = ModulesConfiguration(reading: &reader)
        guard reader.problems.isEmpty else { throw ConfigurationErrors(problems: reader.problems) }
        return configuration
    }

    /// A server for all of them. They use nothing until they are first called.
    /// - Parameter worker: whose jobs may start others; none at a desk.
    public static func server(
        _ configuration: ModulesConfiguration,
        for worker: Worker? = nil,
        on eventLoop: any EventLoop,
        logger: Logger
    ) -> ModuleServer {
        let http = ModuleHTTPClient(eventLoop: eventLoop)
        var modules: [any AgentModule] = [
            FingerprintModule(url: configuration.fingerprintProviderURL, http: http),
            MonitoringModule(url: configuration.backendURL, http: http, logger: logger),
            DatabaseModule(configuration.sqlServer, logger: logger),
        ]
        if let worker { modules.append(JobsModule(worker: worker)) }
        return ModuleServer(modules: modules, eventLoop: eventLoop, logger: logger)
    }
}

extension ModulesConfiguration {
    init(reading reader: inout EnvironmentReader) {
        self.init(
            backendURL: reader[Variables.backendURL],
            proxyProviderURL: reader[Variables.proxyProviderURL],
            fingerprintProviderURL: reader[Variables.fingerprintProviderURL],
            sqlServer: SQLServerConfiguration(
                name: reader[Variables.sqlServerName],
                port: reader[Variables.sqlServerPort],
                database: reader[Variables.sqlServerDatabase],
                user: reader[Variables.sqlServerUser],
                password: reader[Variables.sqlServerPassword],
                connections: reader[Variables.sqlConnections],
                connectTimeout: reader[Variables.sqlConnectTimeout],
                queryTimeout: reader[Variables.sqlQueryTimeout],
                idleTimeout: reader[Variables.sqlIdleTimeout]
            )
        )
    }
}
