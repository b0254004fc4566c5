/// Broker URLs as Celery and kombu write them: `amqp://user:password@host:port/vhost?heartbeat=30`, several with `;` between them.
///
/// Percent-encoding is undone in user, password and virtual host. No path and a path of `/` are the virtual host `/`, as is `//`.
/// The text of an error and of ``description`` holds no password.
public struct ConnectionURL: Sendable, Equatable, CustomStringConvertible {
    public var endpoint: Endpoint

    public init(endpoint: Endpoint) { self.endpoint = endpoint }

    /// - Throws: ``ConnectionURLError`` with what was found and what was expected.
    public init(_ text: String) throws(ConnectionURLError) {
        var rest = Substring(text.trimmed)
        guard let colon = rest.range(of: "://") else {
            throw Self.wrong("no '://'", "amqp://user:password@host:port/vhost")
        }
        let scheme = String(rest[..<colon.lowerBound])
        guard let usesTLS = Self.schemes[scheme] else {
            throw Self.wrong("the scheme '\(scheme)'", "one of \(Self.schemes.keys.sorted().joined(separator: ", "))")
        }
        rest = rest[colon.upperBound...]
        let query = rest.cut(at: "?") ?? ""
        let path = rest.cut(at: "/")
        self.endpoint = Endpoint(host: "localhost", port: usesTLS ? 5671 : 5672)
        if usesTLS { self.endpoint.tls = TLSOptions() }
        try self.readAuthority(rest)
        if let path {
            let name = path == "" || path == "/" ? "/" : try Self.decoded(path, "the virtual host")
            self.endpoint.virtualHost = name
        }
        try self.readQuery(query)
    }

    /// Reads a list of URLs, of which at least one must be given.
    public static func list(_ text: String) throws(ConnectionURLError) -> [ConnectionURL] {
        var urls: [ConnectionURL] = []
        for part in text.split(separator: ";") where !String(part).trimmed.isEmpty {
            urls.append(try ConnectionURL(String(part)))
        }
        guard !urls.isEmpty else { throw Self.wrong("nothing", "amqp://user:password@host:port/vhost") }
        return urls
    }

    private static let schemes = [
        "amqp": false, "pyamqp": false, "librabbitmq": false, "amqps": true, "pyamqps": true,
    ]

    private mutating func readAuthority(_ authority: Substring) throws(ConnectionURLError) {
        var host = authority
        if let at = authority.lastIndex(of: "@") {
            var user = authority[..<at]
            let password = user.cut(at: ":")
            if !user.isEmpty { self.endpoint.credentials.user = try Self.decoded(user, "the user") }
            if let password { self.endpoint.credentials.password = try Self.decoded(password, "the password") }
            host = authority[authority.index(after: at)...]
        }
        var port: Substring?
        if host.first == "[" {
            guard let end = host.firstIndex(of: "]") else {
                throw Self.wrong("'[' without ']'", "an address such as [::1]")
            }
            let after = host[host.index(after: end)...]
            host = host[host.index(after: host.startIndex)..<end]
            if !after.isEmpty {
                guard after.first == ":" else { throw Self.wrong("'\(after)' after the host", "a port such as :5672") }
                port = after.dropFirst()
            }
        } else {
            port = host.cut(at: ":")
        }
        if !host.isEmpty { self.endpoint.host = String(host) }
        if let port, !port.isEmpty {
            guard let number = UInt16(port), number > 0 else {
                throw Self.wrong("the port '\(port)'", "a number from 1 to 65535")
            }
            self.endpoint.port = Int(number)
        }
    }

    private mutating func readQuery(_ query: Substring) throws(ConnectionURLError) {
        for pair in query.split(separator: "&") {
            var name = pair
            let value = try Self.decoded(name.cut(at: "=") ?? "", "an option")
            try self.apply(option: String(name), value)
        }
    }

    /// The options of kombu's and RabbitMQ's URLs, under either's names.
    private mutating func apply(option: String, _ value: String) throws(ConnectionURLError) {
        switch option {
        case "heartbeat":
            guard let seconds = UInt16(value) else { throw Self.wrong("heartbeat=\(value)", "seconds from 0 to 65535") }
            self.endpoint.heartbeat = seconds
        case "connection_timeout", "connect_timeout":
            guard let seconds = Double(value), seconds > 0, seconds.isFinite else {
                throw Self.wrong("\(option)=\(value)", "seconds above 0")
            }
            self.endpoint.connectTimeout = seconds
        case "login_method", "auth_mechanism":
            guard let mechanism = Credentials.Mechanism(rawValue: value.uppercased()) else {
                throw Self.wrong(
                    "\(option)=\(value)",
                    Credentials.Mechanism.allCases.map(\.rawValue).joined(separator: ", ")
                )
            }
            self.endpoint.credentials.mechanism = mechanism
        case "ssl_ca_certs", "ca_certs", "cacertfile": self.endpoint.tls?.authorities = value
        case "ssl_certfile", "certfile": self.endpoint.tls?.certificate = value
        case "ssl_keyfile", "keyfile": self.endpoint.tls?.key = value
        case "ssl_server_hostname", "server_hostname", "server_name_indication": self.endpoint.tls?.serverName = value
        case "ssl_cert_reqs", "cert_reqs", "verify":
            switch value.lowercased() {
            case "cert_none", "none", "verify_none", "0", "false": self.endpoint.tls?.verifiesServer = false
            case "cert_required", "cert_optional", "required", "optional", "verify_peer", "1", "true":
                self.endpoint.tls?.verifiesServer = true
            default: throw Self.wrong("\(option)=\(value)", "CERT_REQUIRED or CERT_NONE")
            }
        default:
            throw Self.wrong(
                "the option '\(option)'",
                "heartbeat, connection_timeout, login_method, ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_cert_reqs or ssl_server_hostname"
            )
        }
    }

    private static func decoded(_ text: Substring, _ what: String) throws(ConnectionURLError) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
                throw Self.wrong("a '%' without two hexadecimal digits in \(what)", "%25 for a percent sign")
            }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        guard let decoded = String(validating: bytes, as: UTF8.self) else {
            throw Self.wrong("bytes that are not UTF-8 in \(what)", "UTF-8")
        }
        return decoded
    }

    private static func wrong(_ found: String, _ expected: String) -> ConnectionURLError {
        ConnectionURLError(found: found, expected: expected)
    }

    public var description: String {
        let scheme = self.endpoint.tls == nil ? "amqp" : "amqps"
        let host = self.endpoint.virtualHost
        return "\(scheme)://\(self.endpoint.credentials.user):***@\(self.endpoint.address)/\(host == "/" ? "/" : host)"
    }
}

/// A broker URL that can't be understood. Holds no password.
public struct ConnectionURLError: Error, Sendable, Equatable, CustomStringConvertible {
    public var found: String
    public var expected: String

    public var description: String { "broker URL: found \(self.found), expected \(self.expected)" }
}

extension String {
    fileprivate var trimmed: String {
        String(self.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}

extension Substring {
    /// Cuts this text off before the first `character`, and returns what stood behind it.
    fileprivate mutating func cut(at character: Character) -> Substring? {
        guard let index = self.firstIndex(of: character) else { return nil }
        let rest = self[self.index(after: index)...]
        self = self[..<index]
        return rest
    }

    fileprivate func range(of text: String) -> Range<Index>? {
        var index = self.startIndex
        while index < self.endIndex {
            if self[index...].hasPrefix(text) { return index..<self.index(index, offsetBy: text.count) }
            index = self.index(after: index)
        }
        return nil
    }
}
