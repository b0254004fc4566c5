import Glibc

/// A proxy that requests go through, from a URL: `http://user:password@host:port`, `https://…`, `socks5://…` or `socks5h://…`; without a scheme it is `http`.
///
/// Without a port it is the one that `requests` would take: 80, 443 for `https`, 1080 for SOCKS. Percent-encoding in the credentials is undone. Its description, and the
/// errors, show no credentials.
public struct UpstreamProxy: Sendable, Equatable {
    enum Scheme: String, Sendable, CaseIterable {
        case http, https
        /// The proxy resolves host names with both: a name that is resolved here would tell this network, not the proxy's, where requests go.
        case socks5, socks5h

        var defaultPort: Int {
            switch self {
            case .http: 80
            case .https: 443
            case .socks5, .socks5h: 1080
            }
        }

        var isSOCKS: Bool { self == .socks5 || self == .socks5h }
    }

    struct Credentials: Sendable, Equatable {
        var user: String
        var password: String
    }

    var scheme: Scheme
    /// Host and port.
    var address: HostPort
    /// Secret.
    var credentials: Credentials?

    /// - Throws: `upstream` with what was found and what was expected; nothing of a text that is not understood is shown.
    public init(_ url: String) throws(ModuleError) {
        var rest = url.trimmed
        guard rest.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            throw Self.wrong("white space or a control character")
        }
        self.scheme = try Self.cutScheme(&rest)
        var authority = rest.prefix { !"/?#".contains($0) }
        let path = rest[authority.endIndex...]
        guard path.isEmpty || path == "/" else {
            throw path.contains("@")
                ? Self.wrong("'/', '?' or '#' in the credentials, where they are written %2F, %3F and %23")
                : Self.wrong("something behind the port")
        }
        if let at = authority.lastIndex(of: "@") {
            self.credentials = try Self.credentials(authority[..<at], self.scheme)
            authority = authority[authority.index(after: at)...]
        }
        guard let address = HostPort(authority, defaultPort: self.scheme.defaultPort) else {
            throw Self.wrong("no host name or address with a port from 1 to 65535; an IPv6 address stands in brackets")
        }
        self.address = address
    }

    private static func cutScheme(_ text: inout Substring) throws(ModuleError) -> Scheme {
        guard let separator = text.firstRange(of: "://") else { return .http }
        let name = text[..<separator.lowerBound].lowercased()
        text = text[separator.upperBound...]
        guard let scheme = Scheme(rawValue: name) else {
            // A text that holds an '@' or a ':' is no scheme, and may be a password.
            let isName =
                name.utf8.count <= 12 && name.utf8.allSatisfy { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) }
            throw Self.wrong(isName ? "the scheme '\(name)'" : "an unknown scheme")
        }
        return scheme
    }

    private static func credentials(_ text: Substring, _ scheme: Scheme) throws(ModuleError) -> Credentials? {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard let user = PercentEncoding.decoded(parts[0]),
            let password = PercentEncoding.decoded(parts.count > 1 ? parts[1] : "")
        else { throw Self.wrong("credentials that are not UTF-8") }
        if user.isEmpty && password.isEmpty { return nil }
        // RFC 1929, section 2.
        if scheme.isSOCKS, !(1...255).contains(user.utf8.count) || password.utf8.count > 255 {
            throw Self.wrong(
                "a user or a password that SOCKS has no room for: the user has 1 to 255 bytes, the password at most 255"
            )
        }
        // RFC 7617, section 2.
        if !scheme.isSOCKS, user.contains(":") {
            throw Self.wrong("a user with a ':', which HTTP can't tell from the password's")
        }
        return Credentials(user: user, password: password)
    }

    private static func wrong(_ found: String) -> ModuleError {
        ModuleError(
            "upstream",
            "the upstream proxy's URL: found \(found), expected http://user:password@host:port, with http, https, socks5 or socks5h"
        )
    }

    /// What `Proxy-Authorization` says (RFC 7617).
    var authorization: String? {
        self.credentials.map { "Basic " + Base64.encoded("\($0.user):\($0.password)".utf8) }
    }

    /// A proxy's own words without our credentials, which it may repeat.
    func redacted(_ text: String) -> String {
        guard let credentials, let authorization else { return text }
        // Masked wherever it stands, a short one would leave holes that tell it.
        if credentials.password.count < 3, !credentials.password.isEmpty, text.contains(credentials.password) {
            return "(not shown)"
        }
        var result = text.replacing(authorization.dropFirst("Basic ".count), with: "***")
        for secret in [credentials.password, credentials.user] where secret.count >= 3 {
            result = result.replacing(secret, with: "***")
            result = result.replacing(PercentEncoding.encoded(secret), with: "***")
        }
        return result
    }
}

// Printed or dumped, whole or in part, it shows no credentials.

extension UpstreamProxy: CustomStringConvertible, CustomReflectable {
    public var description: String {
        "\(self.scheme.rawValue)://\(self.credentials == nil ? "" : "***@")\(self.address)"
    }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension UpstreamProxy.Credentials: CustomStringConvertible, CustomReflectable {
    var description: String { "***" }
    var customMirror: Mirror { Mirror(self, children: []) }
}

extension String {
    fileprivate var trimmed: Substring {
        let isSpace: (Character) -> Bool = { $0.isWhitespace }
        var rest = self[...]
        while let last = rest.last, isSpace(last) { rest.removeLast() }
        return rest.drop(while: isSpace)
    }
}
