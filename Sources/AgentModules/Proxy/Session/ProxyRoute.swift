import JSON

/// One way upstream: a listener of the relay's, and what the user may know of what is behind it.
struct ProxyRoute: Sendable {
    var listener: RelayListener
    /// `nil` where requests go straight to their hosts.
    var upstream: Upstream?

    struct Upstream: Sendable {
        /// What the provider answered, with `proxy_url`, which holds credentials.
        var facts: JSONObject
        /// The URL without them.
        var shown: String
    }

    /// For the SDK.
    var facts: JSONObject {
        [
            "upstream": self.upstream.map { .object($0.facts) } ?? .null,
            "upstream_shown": JSON(self.upstream?.shown),
        ]
    }
}
