import AMQP
import Glibc
import Logging
import NIOCore
import NIOPosix

/// The RabbitMQ that `AMQP_TEST_URL` names.
enum TestBroker {
    static let url: String? = getenv("AMQP_TEST_URL").map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    static var eventLoop: any EventLoop { MultiThreadedEventLoopGroup.singleton.next() }

    static func configuration() throws -> ConnectionConfiguration {
        ConnectionConfiguration(endpoint: try ConnectionURL(Self.url ?? "").endpoint, connectionName: "AMQP tests")
    }

    static func withConnection<Result: Sendable>(
        _ change: (inout ConnectionConfiguration) -> Void = { _ in },
        _ body: (AMQPConnection) async throws -> Result
    ) async throws -> Result {
        var configuration = try Self.configuration()
        change(&configuration)
        return try await AMQPConnection.withConnection(
            configuration,
            on: Self.eventLoop,
            logger: Self.logger,
            body
        )
    }

    /// A channel with a queue of its own, which goes with the connection.
    static func withQueue(
        _ change: (inout ConnectionConfiguration) -> Void = { _ in },
        _ body: (AMQPConnection, AMQPChannel, String) async throws -> Void
    ) async throws {
        try await Self.withConnection(change) { connection in
            let channel = try await connection.openChannel()
            let name = Self.uniqueName()
            try await channel.declare(QueueDeclaration(name: name, durable: false, exclusive: true))
            try await body(connection, channel, name)
        }
    }

    static func uniqueName() -> String {
        var generator = SystemRandomNumberGenerator()
        return "amqp-test-" + (0..<2).map { _ in String(generator.next(), radix: 36) }.joined()
    }
}
