/// How proxies are launched.
public struct ProxyConfiguration: Sendable {
    /// mitmdump, and the add-on that it loads.
    public struct Program: Sendable {
        public var mitmdump: String
        public var script: String

        public init(mitmdump: String, script: String) {
            self.mitmdump = mitmdump
            self.script = script
        }
    }

    /// `PROXY_PROVIDER_URL`: the provider, or the upstream proxy. May hold secrets.
    public var providerURL: String
    /// `AGENT_PROXY_UPSTREAM_CA`: a PEM file of authorities that `https` upstreams are verified with, besides the system's.
    public var upstreamAuthorities: String?
    /// `AGENT_PROXY_PORT`, on loopback; 0 for any free one.
    public var port: Int
    /// `AGENT_PROXY_CA_DIRECTORY`: of mitmproxy's authority and its own configuration.
    public var authorityDirectory: String
    /// mitmdump's, and so the functions' that it runs.
    public var environment: [String: String]
    /// Finds the program when a proxy is launched.
    public var program: @Sendable () throws(ModuleError) -> Program

    public init(
        providerURL: String,
        upstreamAuthorities: String? = nil,
        port: Int,
        authorityDirectory: String,
        environment: [String: String],
        program: @escaping @Sendable () throws(ModuleError) -> Program
    ) {
        self.providerURL = providerURL
        self.upstreamAuthorities = upstreamAuthorities
        self.port = port
        self.authorityDirectory = authorityDirectory
        self.environment = environment
        self.program = program
    }
}

extension ProxyConfiguration: CustomStringConvertible, CustomReflectable {
    public var description: String { "ProxyConfiguration(port \(self.port))" }
    public var customMirror: Mirror { Mirror(self, children: ["port": self.port]) }
}
