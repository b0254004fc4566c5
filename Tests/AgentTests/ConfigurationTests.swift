import AgentModules
import Glibc
import Logging
import Testing

@testable import Agent

@Suite("Configuration")
struct ConfigurationTests {
    @Test("only RUN_ID is needed; the rest has the documented defaults")
    func defaults() throws {
        let configuration = try AgentConfiguration(environment: ["RUN_ID": "a1b2"])
        #expect(configuration.runID == "a1b2")
        #expect(configuration.podIndex == "0")
        #expect(configuration.rabbitMQURL == "amqp://localhost:5672")
        #expect(configuration.redis.address == "localhost:6379")
        #expect(configuration.redis.database == 0)
        #expect(configuration.redis.tls == nil)
        #expect(configuration.redis.password == nil)
        #expect(configuration.modules.backendURL == "http://localhost:8000")
        #expect(configuration.modules.proxy.providerURL == "http://127.0.0.1:5001")
        #expect(configuration.modules.proxy.port == 8081)
        #expect(configuration.modules.fingerprintProviderURL == "http://localhost:5005")
        #expect(configuration.modules.sqlServer.name == nil)
        #expect(configuration.modules.sqlServer.port == 1433)
        #expect(configuration.modules.sqlServer.connections == 8)
        #expect(configuration.modules.sqlServer.connectTimeout == 60)
        #expect(configuration.modules.sqlServer.queryTimeout == 0)
        #expect(configuration.modules.sqlServer.idleTimeout == 60)
        #expect(configuration.requirements == nil)
        #expect(configuration.definitionDeadline == .seconds(60))
        #expect(configuration.drainLimit == nil)
        #expect(configuration.probes == nil)
        #expect(configuration.maximumDeliveries == nil)
        #expect(configuration.logLevel == .info)
        #expect(configuration.logFormat == .text)
    }

    @Test("every variable is read into its place")
    func allSet() throws {
        let configuration = try AgentConfiguration(environment: [
            "RUN_ID": "r", "POD_INDEX": "12", "RABBITMQ_URL": "amqps://u:p@a/v?heartbeat=5;amqp://b",
            "REDIS_HOST_VAR_ENV": "::1", "REDIS_PORT_VAR_ENV": "7000", "BACKEND_URL": "https://b",
            "PROXY_PROVIDER_URL": "http://u:p@proxy:1", "FINGERPRINT_PROVIDER_URL": "http://f",
            "SQL_SERVER_NAME": "n", "SQL_SERVER_DB": "d", "SQL_SERVER_USER": "u", "SQL_SERVER_PASSWORD": "p w",
            "SQL_SERVER_PORT": "1434", "AGENT_SQL_CONNECTIONS": "3", "AGENT_SQL_CONNECT_TIMEOUT": "7",
            "AGENT_SQL_QUERY_TIMEOUT": "9", "AGENT_SQL_IDLE_TIMEOUT": "11",
            "AGENT_PROXY_PORT": "0", "AGENT_PROXY_UPSTREAM_CA": "/uca", "AGENT_PROXY_CA_DIRECTORY": "~/ca",
            "HOME": "/home/u",
            "AGENT_PROXY_MITMDUMP": "/no/mitmdump", "REQUIREMENTS_TXT": "c2l4", "AGENT_REDIS_USER": "ru",
            "AGENT_REDIS_PASSWORD": "rp", "AGENT_REDIS_DB": "3",
            "AGENT_REDIS_TLS": "Yes", "AGENT_REDIS_TLS_CA": "/ca", "AGENT_REDIS_TLS_CERT": "/cert",
            "AGENT_REDIS_TLS_KEY": "/key", "AGENT_REDIS_TIMEOUT": "1.5", "AGENT_DEFINITION_DEADLINE": "0",
            "AGENT_PYTHON": "python3.12", "AGENT_DRAIN_SECONDS": "30", "AGENT_MAX_DELIVERIES": "4",
            "AGENT_LOG_LEVEL": "DEBUG",
            "AGENT_LOG_FORMAT": "json", "AGENT_HTTP_PORT": "8080", "AGENT_HTTP_HOST": "::",
        ])
        #expect(configuration.podIndex == "12")
        #expect(configuration.rabbitMQURL == "amqps://u:p@a/v?heartbeat=5;amqp://b")
        #expect(configuration.redis.address == "[::1]:7000")
        #expect(configuration.modules.backendURL == "https://b")
        #expect(configuration.modules.proxy.providerURL == "http://u:p@proxy:1")
        #expect(configuration.modules.proxy.port == 0)
        #expect(configuration.modules.proxy.upstreamAuthorities == "/uca")
        #expect(configuration.modules.proxy.authorityDirectory == "/home/u/ca")
        #expect(throws: ModuleError.self) { try configuration.modules.proxy.program() }
        #expect(configuration.modules.fingerprintProviderURL == "http://f")
        #expect(configuration.modules.sqlServer.name == "n")
        #expect(configuration.modules.sqlServer.database == "d")
        #expect(configuration.modules.sqlServer.user == "u")
        #expect(configuration.modules.sqlServer.password == "p w")
        #expect(configuration.modules.sqlServer.port == 1434)
        #expect(configuration.modules.sqlServer.connections == 3)
        #expect(configuration.modules.sqlServer.connectTimeout == 7)
        #expect(configuration.modules.sqlServer.queryTimeout == 9)
        #expect(configuration.modules.sqlServer.idleTimeout == 11)
        #expect(configuration.requirements == "c2l4")
        #expect(configuration.redis.user == "ru")
        #expect(configuration.redis.password == "rp")
        #expect(configuration.redis.database == 3)
        #expect(configuration.redis.tls?.authorities == "/ca")
        #expect(configuration.redis.tls?.certificate == "/cert")
        #expect(configuration.redis.tls?.key == "/key")
        #expect(configuration.redis.timeout == .milliseconds(1500))
        #expect(configuration.definitionDeadline == .zero)
        #expect(configuration.python == "python3.12")
        #expect(configuration.drainLimit == .seconds(30))
        #expect(configuration.probes == ProbeServer.Address(host: "::", port: 8080))
        #expect(configuration.maximumDeliveries == 4)
        #expect(configuration.logLevel == .debug)
        #expect(configuration.logFormat == .json)
    }

    @Test("a missing or empty RUN_ID ends with 78", arguments: [[:], ["RUN_ID": ""]])
    func missingRunID(environment: [String: String]) {
        let error = #expect(throws: ConfigurationErrors.self) { try AgentConfiguration(environment: environment) }
        #expect(error?.exitStatus == .configuration)
        #expect(error?.exitStatus.rawValue == 78)
        #expect(error?.message.hasPrefix("RUN_ID: found nothing, expected ") == true)
        #expect(error?.details.isEmpty == true)
    }

    @Test(
        "a wrong value is told with its variable",
        arguments: [
            ("RUN_ID", "a b"), ("POD_INDEX", "-1"), ("POD_INDEX", "01"), ("POD_INDEX", "x"),
            ("RABBITMQ_URL", "localhost"),
            ("RABBITMQ_URL", "amqp://a;"), ("REDIS_HOST_VAR_ENV", "redis://h"), ("REDIS_HOST_VAR_ENV", "h:6379"),
            ("REDIS_PORT_VAR_ENV", "0"), ("REDIS_PORT_VAR_ENV", "65536"), ("REDIS_PORT_VAR_ENV", "+1"),
            ("BACKEND_URL", "ftp://x"), ("BACKEND_URL", "http://"), ("AGENT_REDIS_DB", "-1"),
            ("AGENT_REDIS_TLS", "maybe"),
            ("AGENT_REDIS_TIMEOUT", "0"), ("AGENT_REDIS_TIMEOUT", "nan"), ("AGENT_REDIS_TIMEOUT", "1e1"),
            ("AGENT_DEFINITION_DEADLINE", "60s"), ("AGENT_LOG_LEVEL", "loud"), ("AGENT_LOG_FORMAT", "xml"),
        ]
    )
    func wrongValue(name: String, value: String) {
        let error = #expect(throws: ConfigurationErrors.self) {
            try AgentConfiguration(environment: ["RUN_ID": "r"].merging([name: value]) { $1 })
        }
        #expect(error?.problems.map(\.variable) == [name])
        #expect(error?.message.hasPrefix("\(name): found \"\(value)\", expected ") == true)
    }

    @Test("all problems are told, one line each, in the table's order")
    func allProblems() {
        let error = #expect(throws: ConfigurationErrors.self) {
            try AgentConfiguration(environment: [
                "AGENT_LOG_FORMAT": "xml\nline", "REDIS_PORT_VAR_ENV": "x", "AGENT_REDIS_USER": "u",
                "AGENT_REDIS_TLS_KEY": "/k",
            ])
        }
        #expect(
            error?.problems.map(\.variable) == [
                "RUN_ID", "REDIS_PORT_VAR_ENV", "AGENT_REDIS_PASSWORD", "AGENT_REDIS_TLS_KEY", "AGENT_LOG_FORMAT",
            ]
        )
        #expect(error?.description.split(separator: "\n").count == 5)
    }

    @Test("a certificate needs its key, and a key its certificate")
    func certificateAndKey() {
        for (given, missing) in [("CERT", "KEY"), ("KEY", "CERT")] {
            let error = #expect(throws: ConfigurationErrors.self) {
                try AgentConfiguration(environment: [
                    "RUN_ID": "r", "AGENT_REDIS_TLS": "1", "AGENT_REDIS_TLS_\(given)": "/x",
                ])
            }
            #expect(error?.problems.map(\.variable) == ["AGENT_REDIS_TLS_\(missing)"])
        }
    }

    @Test(
        "no error shows a secret",
        arguments: [
            ("RABBITMQ_URL", "http://user:hunter2@host"), ("RABBITMQ_URL", "user:hunter2@host"),
            ("RABBITMQ_URL", "amqp:/user:hunter2@host"), ("PROXY_PROVIDER_URL", "gopher://hunter2@host"),
        ]
    )
    func noSecrets(name: String, value: String) {
        let error = #expect(throws: ConfigurationErrors.self) {
            try AgentConfiguration(environment: ["RUN_ID": "r", name: value])
        }
        #expect(error?.description.contains("hunter2") == false)
    }

    @Test("a configuration that is printed or dumped shows no secret")
    func printed() throws {
        let secret = "hunter2"
        let configuration = try AgentConfiguration(environment: [
            "RUN_ID": "r", "RABBITMQ_URL": "amqp://u:\(secret)@h", "PROXY_PROVIDER_URL": "http://u:\(secret)@h",
            "SQL_SERVER_PASSWORD": secret, "REQUIREMENTS_TXT": secret, "AGENT_REDIS_PASSWORD": secret,
        ])
        for value: Any in [configuration, configuration.redis, configuration.modules.sqlServer] {
            var dumped = ""
            dump(value, to: &dumped)
            for text in [dumped, "\(value)", String(reflecting: value)] {
                #expect(!text.isEmpty)
                #expect(!text.contains(secret))
            }
        }
    }

    @Test("the table lists exactly what is read")
    func tableIsComplete() {
        var reader = EnvironmentReader(["RUN_ID": "r"])
        _ = AgentConfiguration(reading: &reader)
        #expect(Set(reader.namesRead) == Set(Variables.table.map(\.name)))
        #expect(reader.namesRead.count == Variables.table.count)
    }

    /// With `UPDATE_README=1` in the environment, the table is written anew first.
    @Test("README's table is the rendered one")
    func readme() throws {
        let path = packageFolder + "/README.md"
        let text = String(decoding: try #require(FileSystem.read(path, limit: 1 << 20)), as: UTF8.self)
        let begin = "<!-- environment: rendered from Sources/Agent/Configuration/Variables.swift -->\n"
        let end = "<!-- end of environment -->"
        let before = text.split(separator: begin, maxSplits: 1, omittingEmptySubsequences: false)
        try #require(before.count == 2)
        let after = before[1].split(separator: end, maxSplits: 1, omittingEmptySubsequences: false)
        try #require(after.count == 2)
        let rendered = "\n" + AgentConfiguration.environmentTable + "\n"
        if getenv("UPDATE_README") != nil {
            try FileSystem.write(Array("\(before[0])\(begin)\(rendered)\(end)\(after[1])".utf8), to: path)
        } else {
            #expect(after[0] == rendered)
        }
    }
}
