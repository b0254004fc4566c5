import NIOCore
import NIOPosix
import NIOSSL

/// A connection to Redis that can do what the agent needs: authenticate, select a database, get a value.
///
/// It exists only within ``withConnection(to:on:_:)``. Commands are to be awaited one by one.
public struct RedisConnection: Sendable {
    private let channel: any Channel
    private let configuration: RedisConfiguration
    private let endings: ConnectionEndings

    /// Connects, authenticates and selects the database, runs `body`, and closes the connection whatever becomes of it.
    ///
    /// - Parameters:
    ///   - configuration: the server, the credentials and the time limits.
    ///   - eventLoop: where the connection lives.
    ///   - body: what to do with it.
    /// - Throws: `RedisError`, `CancellationError`, and what `body` throws.
    public static func withConnection<Result: Sendable>(
        to configuration: RedisConfiguration,
        on eventLoop: any EventLoop,
        _ body: (RedisConnection) async throws -> Result
    ) async throws -> Result {
        try Task.checkCancellation()
        let endings = ConnectionEndings()
        let channel = try await Self.connect(to: configuration, on: eventLoop, endings)
        let connection = RedisConnection(channel: channel, configuration: configuration, endings: endings)
        do {
            try await connection.prepare()
            let result = try await body(connection)
            await connection.close()
            return result
        } catch {
            await connection.close()
            throw error
        }
    }

    /// The value of `key`, or `nil` if there is none.
    public func get(_ key: String) async throws -> ByteBuffer? {
        let command = RESPCommand.get(key: key)
        switch try await self.send(command) {
        case .bulk(let value): return value
        case .null: return nil
        case .error(let code, let text): throw RedisError(code: code, text: text, command: command)
        case .simple, .integer: throw RedisError.protocolViolation(reason: "GET answered with no value")
        }
    }

    private func prepare() async throws {
        if let password = self.configuration.password {
            try await self.expectOK(.auth(user: self.configuration.user, password: password))
        }
        if self.configuration.database != 0 {
            try await self.expectOK(.select(database: self.configuration.database))
        }
    }

    private func expectOK(_ command: RESPCommand) async throws {
        switch try await self.send(command) {
        case .simple: return
        case .error(let code, let text): throw RedisError(code: code, text: text, command: command)
        case .bulk, .null, .integer:
            throw RedisError.protocolViolation(reason: "\(command.name) answered with no status")
        }
    }

    private func send(_ command: RESPCommand) async throws -> RESPReply {
        let promise = self.channel.eventLoop.makePromise(of: RESPReply.self)
        let channel = self.channel
        let endings = self.endings
        return try await withTaskCancellationHandler {
            // On a closed channel the handler is gone, and only the write's own failure comes back.
            channel.writeAndFlush(RESPRequest(command: command, promise: promise)).whenFailure { error in
                promise.fail(endings.reason(of: channel) ?? RedisError(channelError: error))
            }
            do {
                return try await promise.futureResult.get()
            } catch {
                try Task.checkCancellation()
                throw error
            }
        } onCancel: {
            channel.close(promise: nil)
        }
    }

    private func close() async {
        // Its outcome means nothing: whoever closes first, the connection is gone.
        try? await self.channel.close().get()
    }

    private static func connect(
        to configuration: RedisConfiguration,
        on eventLoop: any EventLoop,
        _ endings: ConnectionEndings
    ) async throws -> any Channel {
        let tls = try configuration.tls.map { (try NIOSSLContext(redis: $0), configuration.host) }
        let timeout = configuration.timeout
        let maximumValue = configuration.maximumValue
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(TimeAmount(timeout))
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let (context, host) = tls {
                        try channel.pipeline.syncOperations.addHandler(try Self.tlsHandler(context, host: host))
                    }
                    let handler = RESPChannelHandler(timeout: timeout, maximumValue: maximumValue, endings: endings)
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
        do {
            let connecting = bootstrap.connect(host: configuration.host, port: configuration.port)
            // Ends the waiting at once on cancellation, while a connection that still comes is closed.
            let waiting = eventLoop.makePromise(of: (any Channel).self)
            connecting.cascade(to: waiting)
            return try await withTaskCancellationHandler {
                try await waiting.futureResult.get()
            } onCancel: {
                waiting.fail(CancellationError())
                connecting.whenSuccess { $0.close(promise: nil) }
            }
        } catch let error as CancellationError {
            throw error
        } catch ChannelError.connectTimeout {
            throw RedisError.timedOut("connecting", after: timeout)
        } catch {
            throw RedisError(channelError: error)
        }
    }

    /// Verifies the certificate against the host name; against the address itself if the host is an address, which
    /// may not be named in a handshake.
    private static func tlsHandler(_ context: NIOSSLContext, host: String) throws -> NIOSSLClientHandler {
        let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
        return try NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : host)
    }
}

extension NIOSSLContext {
    fileprivate convenience init(redis files: RedisConfiguration.TLS) throws(RedisError) {
        do {
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.minimumTLSVersion = .tlsv12
            if let authorities = files.authorities {
                configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(authorities))
            }
            if let certificate = files.certificate, let key = files.key {
                configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(certificate).map { .certificate($0) }
                configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: key, format: .pem))
            }
            try self.init(configuration: configuration)
        } catch {
            throw .tlsConfiguration(reason: LogText.escaped("\(error)", quotes: false))
        }
    }
}
