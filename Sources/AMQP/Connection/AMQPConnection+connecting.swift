public import Logging
public import NIOCore
import NIOPosix
import NIOSSL

extension AMQPConnection {
    /// Connects, calls `body`, and closes in order afterwards.
    /// - Throws: ``AMQPError`` if there can be no connection; what `body` throws.
    public static func withConnection<Result: Sendable>(
        _ configuration: ConnectionConfiguration,
        on eventLoop: any EventLoop,
        logger: Logger,
        _ body: (AMQPConnection) async throws -> Result
    ) async throws -> Result {
        let connection = try await self.connect(configuration, on: eventLoop, logger: logger)
        do {
            let result = try await body(connection)
            await connection.close()
            return result
        } catch {
            await connection.close()
            throw error
        }
    }

    /// Connects and logs in. The caller closes the connection.
    static func connect(
        _ configuration: ConnectionConfiguration,
        on eventLoop: any EventLoop,
        logger: Logger
    ) async throws -> AMQPConnection {
        let endpoint = configuration.endpoint
        let tls = try endpoint.tls.map { try Self.tlsContext($0) }
        let timeout = TimeAmount.nanoseconds(Int64((endpoint.connectTimeout ?? configuration.connectTimeout) * 1e9))
        let connection: AMQPConnection
        do {
            connection = try await ClientBootstrap(group: eventLoop)
                .connectTimeout(timeout)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelOption(.socketOption(.so_keepalive), value: 1)
                .connect(host: endpoint.host, port: endpoint.port) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let connection = AMQPConnection(channel: channel, configuration: configuration, logger: logger)
                        if let tls {
                            try channel.pipeline.syncOperations.addHandler(
                                try Self.tlsHandler(tls, endpoint: endpoint)
                            )
                        }
                        try channel.pipeline.syncOperations.addHandler(ConnectionHandler(connection: connection))
                        return connection
                    }
                }
        } catch let error as AMQPError {
            throw error
        } catch {
            throw AMQPError(.connectFailed, "\(endpoint.address): \(error)")
        }
        try await connection.shakeHands()
        return connection
    }

    private func shakeHands() async throws {
        let seconds = self.configuration.handshakeTimeout
        let deadline = self.eventLoop.scheduleTask(in: .nanoseconds(Int64(seconds * 1e9))) {
            self.assumeIsolated {
                $0.handshakeTimedOut(
                    AMQPError(
                        .handshakeTimeout,
                        "no end of it from \($0.configuration.endpoint.address) in \(seconds) s"
                    )
                )
            }
        }
        defer { deadline.cancel() }
        do {
            try await self.opened()
        } catch {
            await self.close()
            throw error
        }
    }

    private static func tlsContext(_ options: TLSOptions) throws -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        do {
            if let authorities = options.authorities { configuration.trustRoots = .file(authorities) }
            if let certificate = options.certificate {
                configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(certificate).map { .certificate($0) }
            }
            if let key = options.key {
                configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: key, format: .pem))
            }
            if !options.verifiesServer { configuration.certificateVerification = .none }
            return try NIOSSLContext(configuration: configuration)
        } catch {
            let files = [options.authorities, options.certificate, options.key].compactMap(\.self).joined(
                separator: ", "
            )
            throw AMQPError(.tls, "the files \(files) can't be used: \(error)")
        }
    }

    private static func tlsHandler(_ context: NIOSSLContext, endpoint: Endpoint) throws -> NIOSSLClientHandler {
        let name = endpoint.tls?.serverName ?? endpoint.host
        do {
            return try NIOSSLClientHandler(context: context, serverHostname: name)
        } catch let error as NIOSSLExtraError where error == .cannotUseIPAddressInSNI {
            return try NIOSSLClientHandler(context: context, serverHostname: nil)
        }
    }
}
