import AMQP
import Logging
import NIOCore

/// Hands a message that must not be lost to a broker, over a connection of its own: replies and events may go to another broker
/// (`broker_write_url`, or another of a failover list), and a broker that is short of memory stops reading from connections that publish.
struct ConfirmedDelivery: Sendable {
    /// Why the broker does not have a message.
    enum Failure: Error, Equatable, CustomStringConvertible {
        case refused
        /// No queue takes it; the broker's words.
        case returned(String)
        case tooLate(Duration)

        var description: String {
            switch self {
            case .refused: "the broker could not take the message on"
            case .returned(let text): "no queue takes the message: \(text)"
            case .tooLate(let limit): "the broker has not confirmed the message within \(limit)"
            }
        }
    }

    var broker: ConnectionConfiguration
    var eventLoop: any EventLoop
    var logger: Logger
    /// How long it may take, connecting included.
    var limit = Duration.seconds(30)

    /// Publishes a message, and returns once the broker has taken it on.
    ///
    /// - Parameters:
    ///   - message: mandatory, so that one which no queue takes is known.
    ///   - queue: is declared before; if it is there with other properties, that is its owner's choice.
    /// - Throws: ``Failure``, `AMQPError`. The broker may still have taken the message on when no answer came in time.
    func deliver(_ message: Message, declaring queue: QueueDeclaration?) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await AMQPConnection.withConnection(self.broker, on: self.eventLoop, logger: self.logger) {
                    if let queue { try await self.declare(queue, on: $0) }
                    try await self.publish(message, on: $0)
                }
            }
            group.addTask {
                try await Task.sleep(for: self.limit)
                throw Failure.tooLate(self.limit)
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func declare(_ queue: QueueDeclaration, on connection: AMQPConnection) async throws {
        do {
            // A refusal closes the channel.
            try await connection.withChannel { _ = try await $0.declare(queue) }
        } catch let error as AMQPError where error.reply?.replyCode == 406 {
            self.logger.debug("a queue has properties of its own", metadata: [LogKeys.queue: "\(queue.name)"])
        }
    }

    private func publish(_ message: Message, on connection: AMQPConnection) async throws {
        let result = try await connection.withChannel { channel in
            try await channel.confirmSelect()
            return try await channel.publishConfirmed(message)
        }
        switch result {
        case .acknowledged: return
        case .refused: throw Failure.refused
        case .returned(let returned): throw Failure.returned(returned.replyText)
        }
    }
}
