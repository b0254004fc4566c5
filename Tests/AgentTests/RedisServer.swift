import NIOCore
import NIOPosix
import Subprocess
import SystemPackage

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
            _ = try await Subprocess.run(
                .path(FilePath(path)),
                arguments: Arguments(
                    [
                        "--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir",
                        folder,
                        "--daemonize", "no",
                    ] + arguments
                ),
                input: .none,
                output: .discarded,
                error: .discarded
            ) { execution in
                do {
                    try await body(RedisServer(port: port))
                } catch {
                    await execution.teardown(using: [])
                    throw error
                }
                await execution.teardown(using: [])
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
