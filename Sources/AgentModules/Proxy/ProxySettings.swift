import JSON

/// What of a `config_proxy` the agent itself reads; the rest is the provider's.
enum ProxySettings: Equatable {
    /// `upstream_proxy_enabled` is 0: requests go straight to their hosts.
    case none
    /// `PROXY_PROVIDER_URL` is the upstream.
    case direct
    /// The provider is asked, with all of the configuration.
    case provider(JSONObject)

    /// - Throws: `configuration`.
    init(_ configuration: JSONObject) throws(ModuleError) {
        guard try Self.isEnabled(configuration["upstream_proxy_enabled"]) else {
            self = .none
            return
        }
        switch configuration["upstream_proxy_broker_type"]?.string {
        case "direct": self = .direct
        case "provider": self = .provider(configuration)
        default:
            throw Self.wrong(
                "upstream_proxy_broker_type",
                configuration["upstream_proxy_broker_type"],
                expected: "\"provider\" or \"direct\", since upstream_proxy_enabled is 1"
            )
        }
    }

    private static func isEnabled(_ value: JSON?) throws(ModuleError) -> Bool {
        switch value {
        case nil, .null, .int(0), .bool(false): return false
        case .int(1), .bool(true): return true
        default: throw Self.wrong("upstream_proxy_enabled", value, expected: "0 or 1")
        }
    }

    private static func wrong(_ name: String, _ value: JSON?, expected: String) -> ModuleError {
        // A value may be anything, a password put into the wrong place, too; short ones help.
        let found: String
        switch value {
        case nil: found = "nothing"
        case .string(let text)? where text.utf8.count <= 20 && !text.contains(":") && !text.contains("@"):
            found = "\"\(text)\""
        case .int(let number)?: found = "\(number)"
        case let value?: found = value.kind
        }
        return ModuleError("configuration", "config_proxy's \(name): found \(found), expected \(expected)")
    }
}
