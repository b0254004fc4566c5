import Glibc
public import Logging
public import NIOCore
import NIOPosix
import NIOSSL

/// What mitmproxy takes for its upstream: ports on loopback behind each of which one route begins.
///
/// It speaks HTTP, as to a proxy, with whoever connects, and dials the real upstream, whose credentials no one else knows.
public struct UpstreamRelay: Sendable {
    struct Limits: Sendable {
        /// For a connection to the upstream, TLS and the way to the target included.
        var dial = Duration.seconds(10)
        /// After its last byte, for a client to end.
        var linger = TimeAmount.seconds(5)
        /// For a connection of which one side has ended and the other says nothing.
        var halfClosed = TimeAmount.minutes(5)
    }

    private let eventLoop: any EventLoop
    private let authorities: String?
    private let limits: Limits
    private let logger: Logger

    /// - Parameters:
    ///   - eventLoop: carries all connections.
    ///   - authorities: a PEM file of authorities that the certificates of `https` upstreams are verified with, besides the system's.
    public init(eventLoop: any EventLoop, authorities: String? = nil, logger: Logger) {
        self.init(eventLoop: eventLoop, authorities: authorities, limits: Limits(), logger: logger)
    }

    init(eventLoop: any EventLoop, authorities: String? = nil, limits: Limits, logger: Logger) {
        self.eventLoop = eventLoop
        self.authorities = authorities
        self.limits = limits
        self.logger = logger
    }

    /// Listens on a free port of 127.0.0.1. Whether the upstream answers is not tried.
    ///
    /// What is opened must be closed (``RelayListener/close()``).
    /// - Throws: `upstream` where the authorities' file can't be used, `network` where there is no port.
    public func open(_ route: UpstreamRoute) async throws(ModuleError) -> RelayListener {
        let tls = try self.tlsContext(route)
        do {
            return try await self.listen(route, tls)
        } catch {
            throw ModuleError("network", "the relay to the upstream proxy can't listen on 127.0.0.1: \(error)")
        }
    }

    private func listen(_ route: UpstreamRoute, _ tls: NIOSSLContext?) async throws -> RelayListener {
        let connections = NIOLoopBoundBox.makeBoxSendingValue(
            RelayConnections(eventLoop: self.eventLoop, logger: self.logger),
            eventLoop: self.eventLoop
        )
        let limits = self.limits
        let server = try await ServerBootstrap(group: self.eventLoop)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let settings = RelayConnection.Settings(
                        route: route,
                        tls: tls,
                        limits: limits,
                        connections: connections.value
                    )
                    try RelayConnection.serve(channel, settings: settings)
                }
            }
            .bind(host: "127.0.0.1", port: 0)
            .get()
        return RelayListener(server: server, port: server.localAddress?.port ?? 0, connections: connections)
    }

    private func tlsContext(_ route: UpstreamRoute) throws(ModuleError) -> NIOSSLContext? {
        guard case .proxy(let proxy) = route, proxy.scheme == .https else { return nil }
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.applicationProtocols = ["http/1.1"]
        do {
            if let authorities {
                configuration.additionalTrustRoots = [.certificates(try NIOSSLCertificate.fromPEMFile(authorities))]
            }
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw ModuleError(
                "upstream",
                "the authorities of https upstream proxies can't be read from \(self.authorities ?? "the system"): \(error)"
            )
        }
    }
}
