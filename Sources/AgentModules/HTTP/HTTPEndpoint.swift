/// Where a server is, from a variable like `BACKEND_URL`.
struct HTTPEndpoint: Sendable, Equatable {
    struct Credentials: Sendable, Equatable {
        var user: String
        var password: String
    }

    /// Without credentials, and without a slash at its end.
    var base: String
    /// Sent as HTTP's basic authentication.
    var credentials: Credentials?

    /// - Parameter url: begins with `http://` or `https://`, as the configuration has checked.
    init(_ url: String) {
        var base = url[...]
        while base.last == "/" { base.removeLast() }
        guard let scheme = base.firstRange(of: "://") else {
            self.base = String(base)
            return
        }
        let rest = base[scheme.upperBound...]
        let authority = rest.prefix { !"/?#".contains($0) }
        guard let at = authority.lastIndex(of: "@") else {
            self.base = String(base)
            return
        }
        let parts = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        self.credentials = Credentials(
            user: Self.decoded(parts[0]),
            password: parts.count > 1 ? Self.decoded(parts[1]) : ""
        )
        self.base = String(base[..<scheme.upperBound] + rest[rest.index(after: at)...])
    }

    var isHTTP: Bool {
        let base = self.base.prefix(8).lowercased()
        return base.hasPrefix("http://") || base.hasPrefix("https://")
    }

    private static func decoded(_ text: Substring) -> String {
        String(decoding: PercentEncoding.decodedBytes(text), as: UTF8.self)
    }
}
