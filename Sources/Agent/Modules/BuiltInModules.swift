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
    /// - Parameters:
    ///   - worker: whose jobs may start others; none at a desk.
    ///   - outbox: for what the backend is told; none at a desk, where no agent lives on to deliver it.
    public static func server(
        _ configuration: ModulesConfiguration,
        for worker: Worker? = nil,
        outbox: Outbox? = nil,
        on eventLoop: any EventLoop,
        logger: Logger
    ) -> ModuleServer {
        let http = ModuleHTTPClient(eventLoop: eventLoop)
        var modules: [any AgentModule] = [
            FingerprintModule(url: configuration.fingerprintProviderURL, http: http),
            MonitoringModule(url: configuration.backendURL, http: http, outbox: outbox, logger: logger),
            DatabaseModule(configuration.sqlServer, logger: logger),
            ProxyModule(configuration.proxy, http: http, eventLoop: eventLoop, logger: logger),
            DisplayModule(eventLoop: eventLoop, logger: logger),
        ]
        if let worker { modules.append(JobsModule(worker: worker)) }
        return ModuleServer(modules: modules, eventLoop: eventLoop, logger: logger)
    }
}

extension ModulesConfiguration {
    init(reading reader: inout EnvironmentReader) {
        let mode = reader[Variables.monitoring]
        let folder = reader[Variables.monitoringOutbox]
        self.init(
            backendURL: reader[Variables.backendURL],
            outbox: mode == .outbox ? folder : nil,
            proxy: ProxyConfiguration(reading: &reader),
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

extension ProxyConfiguration {
    init(reading reader: inout EnvironmentReader) {
        let environment = reader.environment
        let configured = reader[Variables.proxyMitmdump]
        self.init(
            providerURL: reader[Variables.proxyProviderURL],
            upstreamAuthorities: reader[Variables.proxyUpstreamAuthorities],
            port: reader[Variables.proxyPort],
            authorityDirectory: FileSystem.expanded(
                reader[Variables.proxyAuthorityDirectory],
                environment: environment
            ),
            environment: environment
        ) { () throws(ModuleError) -> Program in
            let locator = PythonLocator(environment: environment)
            do throws(PythonLocator.Failure) {
                return Program(
                    mitmdump: try locator.mitmdump(configured: configured),
                    script: try locator.runtime() + "/armada_agent/proxy/script.py"
                )
            } catch {
                throw ModuleError("missing", error.message)
            }
        }
    }
}

/// How the backend is told (`AGENT_MONITORING`).
enum MonitoringMode: String, Sendable, CaseIterable {
    /// A call lasts until the backend has it.
    case direct
    /// A call lasts until it is on the disk.
    case outbox
}
