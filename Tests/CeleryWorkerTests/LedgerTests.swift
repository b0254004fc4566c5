import AMQP
import Celery
import NIOCore
import Testing

@testable import CeleryWorker

@Suite("The ledger of deliveries")
struct LedgerTests {
    static let late = TaskOptions(acksLate: true)
    static let early = TaskOptions()

    static func message(
        _ id: String = "t",
        redelivered: Bool = false,
        eta: EpochSeconds? = nil,
        retries: Int64 = 0,
        body: String = "[]"
    ) -> TaskMessage {
        TaskMessage(
            form: .protocol2,
            id: id,
            task: "proj.add",
            eta: eta,
            retries: retries,
            deliveryInfo: .init(exchange: "", routingKey: "q", priority: nil, redelivered: redelivered),
            properties: BasicProperties(),
            body: ByteBuffer(string: body)
        )
    }

    static func token(_ tag: UInt64, epoch: UInt64 = 1) -> DeliveryToken {
        DeliveryToken(epoch: epoch, channel: 1, tag: tag)
    }

    static func source(_ epoch: UInt64) -> DeliverySource { DeliverySource(epoch: epoch, channel: 1) }

    private func submit(_ ledger: inout Ledger, _ options: TaskOptions, tag: UInt64 = 1) throws -> Job.ID {
        let action = ledger.receive(Self.message(), options: options, token: Self.token(tag))
        guard case .submit(let id) = action else { throw Unexpected(action: action) }
        return id
    }

    struct Unexpected: Error {
        var action: Ledger.ReceiveAction
    }

    // MARK: Ack matrix

    struct Case: Sendable, CustomTestStringConvertible {
        var options: TaskOptions
        var ending: JobEnding
        var settlement: Settlement

        var testDescription: String {
            """
            \(self.ending), failure acks: \(self.options.acksOnFailure), timeout acks: \(self.options.acksOnTimeout), \
            lost rejects: \(self.options.rejectOnWorkerLost)
            """
        }
    }

    static let matrix: [Case] = {
        let noAck = TaskOptions(acksLate: true, acksOnFailure: false, acksOnTimeout: false)
        let noAckOnFailure = TaskOptions(acksLate: true, acksOnFailure: false)
        let noAckOnTimeout = TaskOptions(acksLate: true, acksOnTimeout: false)
        let rejects = TaskOptions(acksLate: true, rejectOnWorkerLost: true)
        return [
            Case(options: late, ending: .succeeded, settlement: .acknowledge),
            Case(options: late, ending: .retried, settlement: .acknowledge),
            Case(options: late, ending: .ignored, settlement: .acknowledge),
            Case(options: late, ending: .failed, settlement: .acknowledge),
            Case(options: noAck, ending: .failed, settlement: .reject(requeue: false)),
            Case(options: noAck, ending: .succeeded, settlement: .acknowledge),
            Case(options: noAck, ending: .retried, settlement: .acknowledge),
            Case(options: late, ending: .timedOut, settlement: .acknowledge),
            Case(options: noAck, ending: .timedOut, settlement: .reject(requeue: true)),
            Case(options: noAckOnFailure, ending: .failed, settlement: .reject(requeue: false)),
            Case(options: noAckOnFailure, ending: .timedOut, settlement: .acknowledge),
            Case(options: noAckOnTimeout, ending: .failed, settlement: .acknowledge),
            Case(options: noAckOnTimeout, ending: .timedOut, settlement: .reject(requeue: true)),
            Case(options: late, ending: .workerLost, settlement: .acknowledge),
            Case(options: noAck, ending: .workerLost, settlement: .reject(requeue: false)),
            Case(options: rejects, ending: .workerLost, settlement: .reject(requeue: true)),
            Case(options: late, ending: .rejected(requeue: true), settlement: .reject(requeue: true)),
            Case(options: late, ending: .rejected(requeue: false), settlement: .reject(requeue: false)),
            Case(options: late, ending: .revoked, settlement: .acknowledge),
            Case(options: rejects, ending: .republished, settlement: .acknowledge),
            Case(options: late, ending: .undecodable, settlement: .acknowledge),
            Case(options: late, ending: .malformed, settlement: .reject(requeue: false)),
        ]
    }()

    @Test("late acknowledgement, by how the task ends", arguments: matrix)
    func lateMatrix(testCase: Case) throws {
        var ledger = Ledger()
        let id = try self.submit(&ledger, testCase.options)
        let start = ledger.started(id, pid: 7, at: 0)
        #expect(start == nil)
        let ended = ledger.conclude(id, testCase.ending)
        let conclusion = try #require(ended)
        #expect(conclusion.settle == .init(token: Self.token(1), settlement: testCase.settlement))
        #expect(conclusion.isRequeued == (testCase.settlement == .reject(requeue: true)))
        #expect(ledger.isEmpty)
    }

    @Test("early acknowledgement comes with the start, and nothing after it", arguments: matrix.map(\.ending))
    func earlyMatrix(ending: JobEnding) throws {
        var ledger = Ledger()
        let id = try self.submit(&ledger, Self.early)
        let start = ledger.started(id, pid: 7, at: 0)
        #expect(start == .init(token: Self.token(1), settlement: .acknowledge))
        let ended = ledger.conclude(id, ending)
        let conclusion = try #require(ended)
        #expect(conclusion.settle == nil)
        #expect(!conclusion.isRequeued)
        #expect(ledger.isEmpty)
    }

    @Test("a job concludes once")
    func concludesOnce() throws {
        var ledger = Ledger()
        let id = try self.submit(&ledger, Self.late)
        let first = ledger.conclude(id, .succeeded)
        let second = ledger.conclude(id, .workerLost)
        #expect(first != nil)
        #expect(second == nil)
    }

    // MARK: Scheduling

    @Test("a message with an eta waits, counts as scheduled, and is due once")
    func scheduled() throws {
        var ledger = Ledger()
        let action = ledger.receive(Self.message(eta: 100), options: Self.late, token: Self.token(1))
        guard case .schedule(let id, until: 100) = action else { throw Unexpected(action: action) }
        #expect(ledger.scheduledCount == 1)
        let isDue = ledger.due(id)
        let isDueAgain = ledger.due(id)
        #expect(isDue)
        #expect(!isDueAgain)
        #expect(ledger.scheduledCount == 0)
    }

    // MARK: Lost connections

    @Test("what has not started is forgotten with its connection")
    func forgotten() throws {
        var ledger = Ledger()
        let reserved = try self.submit(&ledger, Self.late)
        _ = ledger.receive(Self.message("eta", eta: 100), options: Self.late, token: Self.token(2))
        ledger.sourceLost(Self.source(1), unstarted: [reserved])
        #expect(ledger.isEmpty)
        #expect(ledger.scheduledCount == 0)
    }

    @Test("a running task adopts its redelivery, and its end settles the new one")
    func adoption() throws {
        var ledger = Ledger()
        let id = try self.submit(&ledger, Self.late)
        _ = ledger.started(id, pid: 7, at: 0)
        ledger.sourceLost(Self.source(1), unstarted: [])
        let again = ledger.receive(
            Self.message(redelivered: true),
            options: Self.late,
            token: Self.token(1, epoch: 2)
        )
        #expect(again == .adopted(id))
        let end = ledger.conclude(id, .succeeded)?.settle
        #expect(end == .init(token: Self.token(1, epoch: 2), settlement: .acknowledge))
        #expect(ledger.adoptedCount == 1)
    }

    @Test("a task that ended without a connection is settled by its redelivery, once")
    func endedMeanwhile() throws {
        var ledger = Ledger()
        let id = try self.submit(&ledger, Self.late)
        _ = ledger.started(id, pid: 7, at: 0)
        ledger.sourceLost(Self.source(1), unstarted: [])
        let end = ledger.conclude(id, .succeeded)?.settle
        #expect(end == nil)
        let token = Self.token(1, epoch: 2)
        let again = ledger.receive(Self.message(redelivered: true), options: Self.late, token: token)
        #expect(again == .settleAgain(token, .acknowledge))
        // A second redelivery is another message that happens to be equal: it is run.
        let other = ledger.receive(
            Self.message(redelivered: true),
            options: Self.late,
            token: Self.token(2, epoch: 2)
        )
        guard case .submit = other else { throw Unexpected(action: other) }
    }

    @Test("what was rejected to its queue without a connection is run again")
    func rejectedMeanwhile() throws {
        var ledger = Ledger()
        let id = try self.submit(&ledger, Self.late)
        _ = ledger.started(id, pid: 7, at: 0)
        ledger.sourceLost(Self.source(1), unstarted: [])
        let end = ledger.conclude(id, .rejected(requeue: true))?.settle
        #expect(end == nil)
        let again = ledger.receive(
            Self.message(redelivered: true),
            options: Self.late,
            token: Self.token(1, epoch: 2)
        )
        guard case .submit = again else { throw Unexpected(action: again) }
    }

    @Test("an early acknowledgement that was lost is sent again while the task runs")
    func earlyAgain() throws {
        var ledger = Ledger()
        let id = try self.submit(&ledger, Self.early)
        _ = ledger.started(id, pid: 7, at: 0)
        ledger.sourceLost(Self.source(1), unstarted: [])
        let token = Self.token(4, epoch: 2)
        let again = ledger.receive(Self.message(redelivered: true), options: Self.early, token: token)
        #expect(again == .settleAgain(token, .acknowledge))
        let end = ledger.conclude(id, .succeeded)?.settle
        #expect(end == nil)
    }

    @Test(
        "only the same message is adopted",
        arguments: [
            message(redelivered: false), message(redelivered: true, retries: 1),
            message(redelivered: true, body: "[1]"),
        ]
    )
    func others(message: TaskMessage) throws {
        var ledger = Ledger()
        let id = try self.submit(&ledger, Self.late)
        _ = ledger.started(id, pid: 7, at: 0)
        ledger.sourceLost(Self.source(1), unstarted: [])
        let action = ledger.receive(message, options: Self.late, token: Self.token(1, epoch: 2))
        guard case .submit(let other) = action else { throw Unexpected(action: action) }
        #expect(other != id)
    }

    @Test("two equal messages on one connection are two jobs")
    func twins() throws {
        var ledger = Ledger()
        let first = try self.submit(&ledger, Self.late, tag: 1)
        _ = ledger.started(first, pid: 7, at: 0)
        let action = ledger.receive(Self.message(redelivered: true), options: Self.late, token: Self.token(2))
        guard case .submit(let second) = action else { throw Unexpected(action: action) }
        let firstEnd = ledger.conclude(first, .succeeded)?.settle?.token
        let secondEnd = ledger.conclude(second, .succeeded)?.settle?.token
        #expect(firstEnd == Self.token(1))
        #expect(secondEnd == Self.token(2))
    }

    // MARK: Any history

    /// Whatever happens in whatever order, each delivery of a connection is settled at most once, and while that connection lives exactly once.
    @Test("each delivery is settled exactly once in any history", arguments: 0..<200)
    func randomHistory(seed: UInt64) {
        var random = SeededGenerator(state: seed &* 0x9E37_79B9_7F4A_7C15 &+ 1)
        var ledger = Ledger()
        var epoch: UInt64 = 1
        var nextTag: UInt64 = 1
        var settled: Set<DeliveryToken> = []
        var delivered: [DeliveryToken: TaskMessage] = [:]
        var started: Set<Job.ID> = []

        func settle(_ action: Ledger.SettleAction?) {
            guard let action else { return }
            #expect(action.token.epoch == epoch, "a settlement for a connection that is gone")
            let isFirst = settled.insert(action.token).inserted
            #expect(isFirst, "settled twice")
        }
        func deliver(_ message: TaskMessage) {
            let token = Self.token(nextTag, epoch: epoch)
            nextTag += 1
            delivered[token] = message
            let options = message.id.hasSuffix("1") ? Self.early : Self.late
            if case .settleAgain(let token, let settlement) = ledger.receive(message, options: options, token: token) {
                settle(.init(token: token, settlement: settlement))
            }
        }
        func end(_ id: Job.ID) {
            let ending: JobEnding = [.succeeded, .failed, .workerLost].randomElement(using: &random) ?? .succeeded
            settle(ledger.conclude(id, ending)?.settle)
            started.remove(id)
        }
        for _ in 0..<60 {
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<4:
                deliver(Self.message("m\(Int.random(in: 0..<6, using: &random))"))
            case 4..<6:
                guard let id = ledger.jobs.keys.sorted().first(where: { !started.contains($0) }) else { continue }
                settle(ledger.started(id, pid: 1, at: 0))
                started.insert(id)
            case 6..<9:
                if let id = started.min() { end(id) }
            default:
                let unstarted = ledger.jobs.keys.filter { !started.contains($0) }
                ledger.sourceLost(Self.source(epoch), unstarted: unstarted)
                let returned = delivered.filter { $0.key.epoch == epoch && !settled.contains($0.key) }
                epoch += 1
                for (_, message) in returned.sorted(by: { $0.key.tag < $1.key.tag }) {
                    var message = message
                    message.deliveryInfo.redelivered = true
                    deliver(message)
                }
            }
        }
        for id in ledger.jobs.keys.sorted() {
            if !started.contains(id) { settle(ledger.started(id, pid: 1, at: 0)) }
            end(id)
        }
        let open = delivered.keys.filter { $0.epoch == epoch && !settled.contains($0) }
        #expect(open.isEmpty, "a delivery of the living connection was never settled")
        #expect(ledger.isEmpty)
        #expect(ledger.runningCount == 0)
    }
}

/// SplitMix64, so that a failing history can be seen again.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var value = self.state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
