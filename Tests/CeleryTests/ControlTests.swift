import Celery
import JSON
import NIOCore
import Testing

@Suite("Remote control's vocabulary")
struct ControlTests {
    @Test("a request as Celery's client writes it")
    func request() throws {
        let body = """
            {"method": "active", "arguments": {"safe": true}, "destination": ["w@h"], "pattern": null, "matcher": null, \
            "ticket": "t-1", "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": "r-1"}}
            """
        let request = try ControlRequest(parsing: ByteBuffer(string: body))
        #expect(
            request
                == ControlRequest(
                    method: "active",
                    arguments: ["safe": true],
                    destination: ["w@h"],
                    ticket: "t-1",
                    replyTo: .init(exchange: "reply.celery.pidbox", routingKey: "r-1")
                )
        )
    }

    @Test("a broadcast without arguments, destination or reply")
    func bare() throws {
        let request = try ControlRequest(parsing: ByteBuffer(string: #"{"method": "ping"}"#))
        #expect(request == ControlRequest(method: "ping"))
    }

    @Test(
        "what is no request is refused",
        arguments: [
            "", "[]", "{}", #"{"method": "ping", "arguments": []}"#,
            #"{"method": "ping", "destination": 4}"#,
            #"{"method": "ping", "reply_to": {"exchange": "x"}}"#,
        ]
    )
    func refusals(body: String) {
        #expect(throws: ControlRequest.Problem.self) { try ControlRequest(parsing: ByteBuffer(string: body)) }
    }

    @Test("text as Python shows it")
    func representation() {
        #expect(PythonRepr.string("nosuch") == "'nosuch'")
        #expect(PythonRepr.string("it's") == "\"it's\"")
        #expect(PythonRepr.string("'\"") == "'\\'\"'")
        #expect(PythonRepr.string("a\nb\\\u{1}") == "'a\\nb\\\\\\x01'")
        #expect(PythonRepr.value([nil, true, 1, 1.5, ["a": "b"]]) == "[None, True, 1, 1.5, {'a': 'b'}]")
    }

    @Test("the clock goes forward, past what others have seen")
    func clock() {
        var clock = LamportClock()
        #expect(clock.forward() == 1)
        #expect(clock.adjust(to: 41) == 42)
        #expect(clock.adjust(to: 3) == 43)
    }

    @Test(
        "node names",
        arguments: [
            ("worker0@%h", "worker0@box.example.org"), ("w@%n", "w@box"), ("w%%@%d", "w%@example.org"),
            ("alone", "celery@alone"),
            ("", "celery@box.example.org"), ("@there", "celery@there"), ("w@", "w@box.example.org"),
        ]
    )
    func nodeNames(text: String, expected: String) {
        #expect(NodeName(expanding: text, hostName: "box.example.org").description == expected)
    }

    @Test(
        "names of files are expanded for the parent process",
        arguments: [
            ("/log/%n.log", "/log/w1.log"), ("%h", "box.example.org"), ("%d", "example.org"),
            ("%p", "w1@box.example.org"),
            ("%n-%i%I%%", "w1-0%"), ("%z%", "%z%"),
        ]
    )
    func fileNames(text: String, expected: String) {
        #expect(NodeName(name: "w1", host: "box.example.org").expanding(text) == expected)
    }
}

@Suite("The arguments of commands")
struct ControlSignatureTests {
    @Test(
        "wrong ones get Python's answer",
        arguments: [
            ("query_task", [:], "TypeError(\"query_task() missing 1 required positional argument: 'ids'\")"),
            (
                "terminate", [:],
                "TypeError(\"terminate() missing 2 required positional arguments: 'signal' and 'task_id'\")"
            ),
            (
                "active_queues", ["surplus": 1],
                "TypeError(\"active_queues() got an unexpected keyword argument 'surplus'\")"
            ),
            ("autoscale", ["max": 3, "n": 1], "TypeError(\"autoscale() got an unexpected keyword argument 'n'\")"),
            ("autoscale", ["max": 3], nil), ("ping", ["anything": 1], nil), ("query_task", ["ids": []], nil),
            ("of_the_project", [:], nil),
        ] as [(String, JSONObject, String?)]
    )
    func problem(command: String, arguments: JSONObject, expected: String?) {
        #expect(ControlSignature.problem(command, arguments) == expected)
    }
}
