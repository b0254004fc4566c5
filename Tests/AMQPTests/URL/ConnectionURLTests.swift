import Testing

@testable import AMQP

@Suite("Connection URLs")
struct ConnectionURLTests {
    private static func endpoint(
        _ host: String = "h",
        _ port: Int = 5672,
        _ virtualHost: String = "/",
        user: String = "guest",
        password: String = "guest"
    ) -> Endpoint {
        let credentials = Credentials(user: user, password: password)
        return Endpoint(host: host, port: port, virtualHost: virtualHost, credentials: credentials)
    }

    @Test("what Celery's URLs mean", arguments: table)
    func understood(_ text: String, _ expected: Endpoint) throws {
        #expect(try ConnectionURL(text).endpoint == expected)
    }

    static let table: [(String, Endpoint)] = [
        ("amqp://h", endpoint()), ("amqp://h/", endpoint()), ("amqp://h//", endpoint()), ("pyamqp://h", endpoint()),
        ("amqp://", endpoint("localhost")), ("amqp://:5673", endpoint("localhost", 5673)),
        ("  amqp://h \n", endpoint()), ("amqp://h/name", endpoint("h", 5672, "name")),
        ("amqp://h/%2Fname", endpoint("h", 5672, "/name")), ("amqp://h//name", endpoint("h", 5672, "/name")),
        ("amqp://me@h:1/v", endpoint("h", 1, "v", user: "me")),
        ("amqp://me:secret@h", endpoint(user: "me", password: "secret")),
        ("amqp://me:p%40ss%3A%2F@h", endpoint(user: "me", password: "p@ss:/")),
        ("amqp://me:a@b@h", endpoint(user: "me", password: "a@b")),
        ("amqp://me:@h", endpoint(user: "me", password: "")), ("amqp://[::1]:5673/v", endpoint("::1", 5673, "v")),
        ("amqp://[fe80::1]", endpoint("fe80::1")),
    ]

    @Test("options")
    func options() throws {
        let url = try ConnectionURL("amqp://h?heartbeat=0&connection_timeout=2.5&login_method=AMQPLAIN")
        #expect(url.endpoint.heartbeat == 0)
        #expect(url.endpoint.connectTimeout == 2.5)
        #expect(url.endpoint.credentials.mechanism == .amqplain)
        #expect(url.endpoint.tls == nil)
    }

    @Test("TLS")
    func tls() throws {
        #expect(try ConnectionURL("amqps://h").endpoint.port == 5671)
        #expect(try ConnectionURL("amqps://h").endpoint.tls == TLSOptions())
        let url = try ConnectionURL(
            "amqps://h:1/v?ssl_ca_certs=/ca.pem&certfile=/c.pem&keyfile=/k.pem&cert_reqs=CERT_NONE&server_hostname=n"
        )
        #expect(
            url.endpoint.tls
                == TLSOptions(
                    authorities: "/ca.pem",
                    certificate: "/c.pem",
                    key: "/k.pem",
                    verifiesServer: false,
                    serverName: "n"
                )
        )
    }

    @Test("lists")
    func lists() throws {
        let urls = try ConnectionURL.list("amqp://a;amqps://b ; ;")
        #expect(urls.map(\.endpoint.host) == ["a", "b"])
        #expect(throws: ConnectionURLError.self) { try ConnectionURL.list(" ; ") }
        #expect(throws: ConnectionURLError.self) { try ConnectionURL.list("amqp://a;redis://b") }
    }

    @Test(
        "what can't be understood is named",
        arguments: [
            ("", "'://'"), ("h:5672", "'://'"), ("redis://h", "redis"), ("amqp://h:0", "'0'"),
            ("amqp://h:65536", "65536"),
            ("amqp://h:x", "'x'"), ("amqp://[::1", "']'"), ("amqp://[::1]x", "'x'"), ("amqp://h/%2", "%"),
            ("amqp://h/%GG", "%"), ("amqp://h/%FF", "UTF-8"), ("amqp://h?heartbeat=-1", "-1"),
            ("amqp://h?connection_timeout=0", "0"), ("amqp://h?connection_timeout=nan", "nan"),
            ("amqp://h?login_method=x", "PLAIN"), ("amqps://h?cert_reqs=maybe", "maybe"),
            ("amqp://h?hartbeat=1", "hartbeat"),
        ]
    )
    func refused(_ text: String, _ named: String) {
        #expect { try ConnectionURL(text) } throws: { "\($0)".contains(named) }
    }

    @Test("no description or error holds the password")
    func secrets() throws {
        let url = try ConnectionURL("amqps://me:hunter2@h/v")
        #expect(url.description == "amqps://me:***@h:5671/v")
        for text in ["redis://me:hunter2@h", "amqp://me:hunter2%@h", "amqp://me:hunter2@h:x", "me:hunter2@h"] {
            #expect { try ConnectionURL(text) } throws: { !"\($0)".contains("hunter2") }
        }
    }
}
