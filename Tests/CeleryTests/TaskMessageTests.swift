import AMQP
import Celery
import NIOCore
import Testing

@Suite("Messages, by the decision table")
struct TaskMessageTests {
    static let registry = TaskRegistry(
        tasks: ["proj.add": TaskOptions(acksLate: true)],
        acceptContent: ["application/json"]
    )

    static func read(
        headers: FieldTable?,
        contentType: String? = "application/json",
        body: String = "[[1], {}, {}]"
    ) throws(MessageProblem) -> MessageReading {
        try TaskMessage.read(
            properties: BasicProperties(contentType: contentType, headers: headers),
            body: ByteBuffer(string: body),
            deliveryInfo: .init(exchange: "", routingKey: "q", priority: 0, redelivered: false),
            registry: Self.registry
        )
    }

    static func task(headers: FieldTable?, body: String = "[[1], {}, {}]") throws -> TaskMessage {
        guard case .task(let message, _) = try Self.read(headers: headers, body: body) else {
            throw MessageProblem.undecodable("left to Python")
        }
        return message
    }

    static func headers(_ more: (String, FieldValue)...) -> FieldTable {
        var table: FieldTable = ["lang": .string("py"), "task": .string("proj.add"), "id": .string("i-1")]
        for (name, value) in more { table.append(name, value) }
        return table
    }

    @Test("protocol 2: what scheduling needs is in the headers")
    func protocol2() throws {
        var limits = FieldArray()
        limits.append(.int32(30))
        limits.append(.void)
        let message = try Self.task(
            headers: Self.headers(
                ("eta", .string("1970-01-01T00:01:00+00:00")),
                ("expires", .void),
                ("retries", .int32(2)),
                ("timelimit", .array(limits)),
                ("shadow", .string("shown")),
                ("argsrepr", .string("(1,)"))
            )
        )
        #expect(message.id == "i-1")
        #expect(message.task == "proj.add")
        #expect(message.name == "shown")
        #expect(message.eta == 60)
        #expect(message.expires == nil)
        #expect(message.retries == 2)
        #expect(message.hardTimeLimit == 30)
        #expect(message.softTimeLimit == nil)
        #expect(message.argsRepr == "(1,)")
        #expect(message.form == .protocol2)
    }

    @Test("protocol 1: all is in the body")
    func protocol1() throws {
        let message = try Self.task(
            headers: nil,
            body:
                #"{"task": "proj.add", "id": "old", "args": [1], "kwargs": {}, "retries": 1, "eta": null, "timelimit": [5, 3.5]}"#
        )
        #expect(message.form == .protocol1)
        #expect(message.id == "old")
        #expect(message.retries == 1)
        #expect(message.hardTimeLimit == 5)
        #expect(message.softTimeLimit == 3.5)
    }

    @Test("protocol 1 in a form that only Python reads is left to Python")
    func needsPython() throws {
        guard case .needsPython = try Self.read(headers: ["compression": .string("application/x-gzip")], body: "x")
        else {
            Issue.record("expected to be left to Python")
            return
        }
    }

    @Test("a body of protocol 1 that is not JSON is acknowledged")
    func undecodable() {
        #expect { try Self.read(headers: nil, body: "not json") } throws: {
            ($0 as? MessageProblem)?.settlement == .acknowledge
        }
    }

    @Test("a message without a task is unknown and rejected", arguments: ["{}", "[1, 2]", "3", "null"])
    func unknown(body: String) {
        #expect(throws: MessageProblem.unknownMessage) { try Self.read(headers: nil, body: body) }
        #expect(MessageProblem.unknownMessage.settlement == .reject)
    }

    @Test("a task that is not registered is rejected, whatever its body")
    func unregistered() {
        #expect(throws: MessageProblem.unregistered(task: "no.such", id: "i-9")) {
            try Self.read(headers: ["task": .string("no.such"), "id": .string("i-9")], body: "")
        }
    }

    @Test("content that may not be decoded is rejected in protocol 2, acknowledged in protocol 1")
    func contentTypes() {
        #expect(throws: MessageProblem.contentDisallowed("application/x-python-serialize")) {
            try Self.read(headers: Self.headers(), contentType: "application/x-python-serialize")
        }
        #expect { try Self.read(headers: nil, contentType: "application/x-python-serialize") } throws: {
            ($0 as? MessageProblem)?.settlement == .acknowledge
        }
    }

    @Test("shapes that end a stock worker are rejected")
    func malformed() {
        func isMalformed(
            _ headers: FieldTable,
            contentType: String? = "application/json",
            body: String = "[[], {}, {}]"
        ) -> Bool {
            do throws(MessageProblem) {
                _ = try Self.read(headers: headers, contentType: contentType, body: body)
                return false
            } catch {
                guard case .malformed = error else { return false }
                return error.settlement == .reject
            }
        }
        var texts = FieldArray()
        texts.append(.string("a"))
        texts.append(.string("b"))
        #expect(isMalformed(["task": .array(FieldArray()), "id": .string("x")]))
        #expect(isMalformed(["task": .string("proj.add")]))
        #expect(isMalformed(["task": .string("proj.add"), "id": .int32(3)]))
        #expect(isMalformed(Self.headers(("timelimit", .int32(3)))))
        #expect(isMalformed(Self.headers(("timelimit", .array(texts)))))
        #expect(isMalformed(Self.headers(), contentType: nil))
        #expect(isMalformed(Self.headers(), body: ""))
    }

    @Test("times that can't be read are rejected as invalid", arguments: ["eta", "expires"])
    func badTimes(header: String) {
        for value: FieldValue in [.string("tomorrow"), .int32(5), .table(FieldTable())] {
            #expect {
                try Self.read(headers: Self.headers((header, value)))
            } throws: {
                guard case .invalid = $0 as? MessageProblem else { return false }
                return true
            }
        }
    }

    @Test("an AMQP timestamp is a time too")
    func timestamp() throws {
        #expect(try Self.task(headers: Self.headers(("eta", .timestamp(77)))).eta == 77)
    }
}
