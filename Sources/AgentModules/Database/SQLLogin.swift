import CFreeTDS
import JSON

/// What a login needs.
struct SQLLogin: Sendable {
    /// As FreeTDS takes it: `host:port`, or `host\instance`, whose port the server tells.
    var server: String
    var database: String
    var user: String
    var password: String
    /// For connecting and logging in together.
    var seconds: Int

    /// - Throws: an error that names the variable that is missing.
    init(_ configuration: SQLServerConfiguration) throws(ModuleError) {
        func value(_ variable: String, _ value: String?, _ expected: String) throws(ModuleError) -> String {
            guard let value else {
                throw ModuleError(
                    "configuration",
                    "\(variable): found nothing, expected \(expected)",
                    details: ["variable": .string(variable)]
                )
            }
            return value
        }
        let name = try value("SQL_SERVER_NAME", configuration.name, "the host of the SQL Server")
        self.server = Self.server(name, port: configuration.port)
        self.database = try value("SQL_SERVER_DB", configuration.database, "the name of a database")
        self.user = try value("SQL_SERVER_USER", configuration.user, "the user to log in as")
        self.password = try value("SQL_SERVER_PASSWORD", configuration.password, "the user's password")
        self.seconds = configuration.connectTimeout
    }

    /// As pymssql reads a server's name, and with SQL Server's own comma before a port.
    static func server(_ name: String, port: Int) -> String {
        let host = name == "." || name == "(local)" ? "localhost" : name
        if host.contains("\\") || host.contains(":") { return host }
        if let comma = host.lastIndex(of: ",") {
            return "\(host[..<comma]):\(host[host.index(after: comma)...].drop { $0 == " " })"
        }
        return "\(host):\(port)"
    }

    func withC<Result>(_ body: (UnsafePointer<cfreetds_login>) -> Result) -> Result {
        self.server.withCString { server in
            self.database.withCString { database in
                self.user.withCString { user in
                    self.password.withCString { password in
                        "armada-agent".withCString { application in
                            var login = cfreetds_login(
                                server: server,
                                database: database,
                                user: user,
                                password: password,
                                application: application,
                                seconds: Int32(clamping: self.seconds)
                            )
                            return body(&login)
                        }
                    }
                }
            }
        }
    }
}
