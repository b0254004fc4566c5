/// Where mitmproxy's requests go.
public enum UpstreamRoute: Sendable, Equatable {
    /// To their targets.
    case direct
    /// Through a proxy.
    case proxy(UpstreamProxy)
}
