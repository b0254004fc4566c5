import AgentModules
import NIOCore
import NIOPosix

@testable import Agent

/// A Redis server of a test's own, on a loopback port, with nothing on disk.
struct RedisServer {
    var port: Int
    /// For a connection without credentials or TLS.
    var configuration: RedisConfiguration { RedisConfiguration(host: "127.0.0.1", port: self.port) }

    /// Starts a server, runs `body` once it answers, and stops it.
    ///
    /// - Parameters:
    ///   - arguments: added to the command line; they may set another port.
    ///   - isReady: a connection that shows that the server is up.
    static func run(
        port: Int? = nil,
        arguments: [String] = [],
        _ body: (RedisServer) async throws -> Void
    ) async throws {
        let port = try port ?? freePort()
        guard let path = PythonLocator.onPath("redis-server", path: currentEnvironment["PATH"]) else {
            throw SetupFailure(what: "redis-server is not on PATH; Debian's package is redis-server")
        }
        try await withTemporaryFolder { folder in
            let command = ProcessCommand(
                executable: path,
                arguments: [
                    "--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder,
                    "--daemonize", "no",
                ] + arguments,
                environment: currentEnvironment,
                // Nothing is to be saved.
                grace: .zero,
                remedy: "install Debian's package redis-server"
            )
            _ = try await ManagedProcess.run(command, on: MultiThreadedEventLoopGroup.singleton.next()) { _ in
                try await body(RedisServer(port: port))
            }
        }
    }

    /// Runs redis-cli until the server answers, since it may still be starting.
    func cli(_ arguments: String...) async throws {
        let isDone = try await eventually {
            do {
                try await runTool("redis-cli", ["-e", "-p", String(self.port)] + arguments)
                return true
            } catch is SetupFailure {
                return false
            }
        }
        guard isDone else { throw SetupFailure(what: "redis-cli \(arguments) never succeeded") }
    }

    /// One GET with a connection of its own.
    static func get(_ key: String, _ configuration: RedisConfiguration) async throws -> String? {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        return try await RedisConnection.withConnection(to: configuration, on: loop) { connection in
            try await connection.get(key).map { String(buffer: $0) }
        }
    }
}
