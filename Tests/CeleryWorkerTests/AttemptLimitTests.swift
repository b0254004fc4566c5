import AMQP
import Celery
import NIOCore
import PythonPool
import Spawning
import Testing

@testable import CeleryWorker

@Suite("The limit of a message's attempts")
struct AttemptLimitTests {
    private static func message(_ headers: FieldTable?, queue: String = "q", body: String = "[]") -> TaskMessage {
        TaskMessage(
            form: .protocol2,
            id: "t",
            task: "proj.add",
            deliveryInfo: .init(exchange: "x", routingKey: "a.b", priority: 3, redelivered: true, queue: queue),
            properties: BasicProperties(
                contentType: "application/json",
                headers: headers,
                deliveryMode: 1,
                priority: 3,
                correlationID: "t",
                expiration: "60000",
                userID: "guest"
            ),
            body: ByteBuffer(string: body)
        )
    }

    private func copy(_ message: TaskMessage, maximum: Int = 3) -> AttemptLimit.Copy? {
        AttemptLimit(maximum: maximum).copy(of: message, reason: "signal 9 (SIGKILL)", node: "w@h", time: 100)
    }

    private func count(_ copy: AttemptLimit.Copy?) -> Int64? {
        copy?.message.properties.headers?[AttemptLimit.header]?.int
    }

    @Test("A message that has attempts left goes to its queue again, with their number")
    func again() {
        let headers: FieldTable = [
            "id": .string("t"), "CC": .array([.string("elsewhere")]), "x-delivery-count": .int64(7),
        ]
        let copy = copy(Self.message(headers))
        #expect(
            copy
                == .again(
                    Message(
                        routingKey: "q",
                        properties: BasicProperties(
                            contentType: "application/json",
                            headers: ["id": .string("t"), "x-armada-lost-workers": .int64(1)],
                            deliveryMode: 1,
                            priority: 3,
                            correlationID: "t",
                            expiration: "60000"
                        ),
                        body: ByteBuffer(string: "[]"),
                        isMandatory: true
                    )
                )
        )
    }

    @Test("Copies of copies count up to the limit, then the message is set aside")
    func counting() {
        var message = Self.message(["id": .string("t")])
        var counts: [Int64?] = []
        while case .again(let next) = copy(message, maximum: 5) {
            counts.append(next.properties.headers?[AttemptLimit.header]?.int)
            message.properties = next.properties
        }
        #expect(counts == [1, 2, 3, 4])
        #expect(count(copy(message, maximum: 5)) == 5)
    }

    @Test("What is set aside is durable, does not expire, and tells why it is there")
    func aside() {
        guard case .aside(let message, let queue) = copy(Self.message(nil), maximum: 1) else {
            Issue.record("it is not set aside")
            return
        }
        #expect(queue == QueueDeclaration(name: "q.set-aside"))
        #expect(queue.durable && !queue.exclusive && !queue.autoDelete)
        #expect(message.routingKey == "q.set-aside" && message.exchange.isEmpty && message.isMandatory)
        #expect(message.properties.deliveryMode == 2)
        #expect(message.properties.expiration == nil)
        guard case .table(let reason) = message.properties.headers?[AttemptLimit.reasonHeader] else {
            Issue.record("no reason")
            return
        }
        #expect(reason["queue"]?.string == "q")
        #expect(reason["reason"]?.string == "signal 9 (SIGKILL)")
        #expect(reason["node"]?.string == "w@h")
        #expect(reason["time"] == .timestamp(100))
    }

    @Test("A message that was moved back to its queue is set aside again, with one reason")
    func movedBack() {
        var message = Self.message(["id": .string("t")])
        guard let first = copy(message, maximum: 1) else {
            Issue.record("no copy")
            return
        }
        message.properties.headers = first.message.properties.headers
        let second = copy(message, maximum: 1)
        #expect(count(second) == 2)
        var reasons = 0
        second?.message.properties.headers?.forEachField { name, _ in
            if String(buffer: name) == AttemptLimit.reasonHeader { reasons += 1 }
        }
        #expect(reasons == 1)
    }

    @Test(
        "A number that makes no sense traps nothing",
        arguments: [
            (.string("many"), 1), (.int64(-5), 1), (.int64(.max), .max), (.int64(.min), 1), (.uint8(200), 201),
            (.void, 1),
        ] as [(FieldValue, Int64)]
    )
    func nonsense(value: FieldValue, expected: Int64) {
        #expect(count(copy(Self.message(["x-armada-lost-workers": value]), maximum: 1)) == expected)
    }

    private static func died(_ cause: WorkerExit.Cause) -> JobLoss {
        .died(WorkerExit(pid: 7, index: 1, exit: .signal(9), cause: cause))
    }

    @Test(
        "What counts as an attempt is what brings the message back",
        arguments: [
            (died(.unasked), TaskOptions(acksLate: true, rejectOnWorkerLost: true), true),
            (died(.unresponsive), TaskOptions(acksLate: true, rejectOnWorkerLost: true), true),
            (died(.retired), TaskOptions(acksLate: true, rejectOnWorkerLost: true), false),
            (died(.terminated), TaskOptions(acksLate: true, rejectOnWorkerLost: true), false),
            (died(.unasked), TaskOptions(acksLate: true, acksOnTimeout: false), false),
            (died(.unasked), TaskOptions(acksLate: true, acksOnFailure: false), false),
            (.hardLimit(5), TaskOptions(acksLate: true, acksOnTimeout: false), true),
            (.hardLimit(5), TaskOptions(acksLate: true, acksOnFailure: false, rejectOnWorkerLost: true), false),
        ]
    )
    func attempts(loss: JobLoss, options: TaskOptions, isAttempt: Bool) {
        #expect(loss.isAttempt(under: options) == isAttempt)
    }

    @Test("Whoever finds a message set aside is told what it has cost")
    func reasons() {
        #expect(Self.died(.unasked).reason == "signal 9 (SIGKILL)")
        #expect(JobLoss.hardLimit(5).reason == "hard time limit of 5 s")
        #expect(JobLoss.hardLimit(0.5).reason == "hard time limit of 0.5 s")
    }

    @Test("Without a queue to name there is no copy", arguments: ["", String(repeating: "q", count: 250)])
    func unnameable(queue: String) {
        #expect(copy(Self.message(nil, queue: queue)) == nil)
    }
}
