import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import AMQP

@Suite("Client, with a scripted broker", .timeLimit(.minutes(1)))
struct ClientTests {
    struct Failure: Error {}

    private static func client(
        _ configurations: [ConnectionConfiguration],
        attempts: Int? = nil,
        sleep: @escaping @Sendable (Double) async throws -> Void = { _ in }
    ) -> AMQPClient {
        AMQPClient(
            configurations: configurations,
            policy: RecoveryPolicy(initialDelay: 1, jitter: 0, maximumAttempts: attempts),
            eventLoop: ScriptedBroker.eventLoop,
            logger: ScriptedBroker.logger,
            sleep: sleep
        )
    }

    @Test("a lost connection is replaced by one of another epoch, after growing pauses")
    func reconnects() async throws {
        let pauses = NIOLockedValueBox<[Double]>([])
        let epochs = NIOLockedValueBox<[UInt64]>([])
        try await ScriptedBroker.run { broker, configuration in
            let client = Self.client([configuration]) { seconds in pauses.withLockedValue { $0.append(seconds) } }
            try await client.run { connection in
                let count = epochs.withLockedValue { epochs in
                    epochs.append(connection.epoch)
                    return epochs.count
                }
                guard count < 4 else { return }
                broker.drop()
                try await connection.closed()
            }
        }
        #expect(Set(epochs.withLockedValue { $0 }).count == 4)
        #expect(pauses.withLockedValue { $0 } == [1, 2, 4])
    }

    @Test("the next broker is tried at once when one does not answer")
    func failover() async throws {
        let dead = try await ScriptedBroker.run { _, configuration in configuration }
        try await ScriptedBroker.run { broker, alive in
            let endpoints = NIOLockedValueBox<[Endpoint]>([])
            try await Self.client([dead, alive], sleep: { _ in Issue.record("a pause") }).run { connection in
                endpoints.withLockedValue { $0.append(connection.configuration.endpoint) }
            }
            #expect(endpoints.withLockedValue { $0 } == [alive.endpoint])
        }
    }

    @Test("gives up after so many attempts, with the last error")
    func attempts() async throws {
        let dead = try await ScriptedBroker.run { _, configuration in configuration }
        let pauses = NIOLockedValueBox(0)
        let client = Self.client([dead], attempts: 3) { _ in pauses.withLockedValue { $0 += 1 } }
        let error = await ChannelTests.error { try await client.run { _ in } }
        #expect(error?.code == .connectFailed)
        #expect(pauses.withLockedValue { $0 } == 3)
    }

    @Test("what can't change by itself is thrown at once")
    func permanent() async throws {
        let script: ScriptedBroker.Script = { frame, peer in
            guard case .method(_, .connectionStartOk) = frame else { return false }
            peer.send([.method(channel: 0, .connectionClose(CloseReason(replyCode: 403, replyText: "x")))])
            return true
        }
        try await ScriptedBroker.run(script: script) { broker, configuration in
            let client = Self.client([configuration]) { _ in Issue.record("a pause") }
            let error = await ChannelTests.error { try await client.run { _ in } }
            #expect(error?.code == .authenticationRefused)
            #expect(broker.connectionCount == 1)
        }
    }

    @Test("what the body throws while its connection lives is thrown, and the connection closed in order")
    func bodyThrows() async throws {
        try await ScriptedBroker.run { broker, configuration in
            await #expect(throws: Failure.self) {
                try await Self.client([configuration]).run { _ in throw Failure() }
            }
            #expect(broker.frames.contains { if case .method(0, .connectionClose) = $0 { true } else { false } })
        }
    }

    @Test("cancellation closes in order and ends the run")
    func cancellation() async throws {
        try await ScriptedBroker.run { broker, configuration in
            let client = Self.client([configuration])
            let running = Task { try await client.run { try await $0.closed() } }
            await broker.until { $0.contains { if case .method(0, .connectionOpen) = $0 { true } else { false } } }
            running.cancel()
            await #expect(throws: CancellationError.self) { try await running.value }
        }
    }
}
