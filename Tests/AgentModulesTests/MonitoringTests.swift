import Celery
import JSON
import NIOHTTP1
import Testing

@testable import AgentModules

@Suite("What the backend is told")
struct MonitoringTests {
    private func arguments(_ values: JSONObject) -> ModuleArguments {
        ModuleArguments(values: values, caller: .init(pid: 1))
    }

    @Test("a job, an event and an end have the documented bodies, in the documented order")
    func bodies() throws {
        let arguments = self.arguments([
            "run_uuid": "r", "job_uuid": "j", "job_associated_agent": 3, "content": ["a": [1.5, nil]],
        ])
        let job = try MonitoringMessage.creation(arguments, time: "T")
        #expect(job.method == .POST)
        #expect(job.path == "/api/jobs/")
        #expect(
            job.body.description
                == #"{"run_uuid": "r", "job_uuid": "j", "job_datetime": "T", "job_associated_agent": 3, "job_status": "Running"}"#
        )
        let event = try MonitoringMessage.event(arguments, .failed, uuid: "u", time: "T")
        #expect(event.method == .POST)
        #expect(event.path == "/api/events/")
        #expect(
            event.body.description
                == #"{"event_uuid": "u", "event_content": {"a": [1.5, null]}, "job_uuid": "j", "event_datetime": "T", "event_status": "Failed"}"#
        )
        let end = try MonitoringMessage.end(arguments, .success)
        #expect(end.method == .PATCH)
        #expect(end.path == "/api/jobs/status")
        #expect(end.body.description == #"{"job_uuid": "j", "job_status": "Success"}"#)
    }

    @Test("a missing argument, and a status that is none, are told")
    func wrongArguments() {
        #expect(throws: ModuleError.argument("run_uuid", found: "nothing", expected: "a value")) {
            try MonitoringMessage.creation(self.arguments([:]), time: "T")
        }
        #expect(throws: ModuleError.argument("status", found: "'Running'", expected: "Success or Failed")) {
            try MonitoringMessage.Status(self.arguments(["status": "Running"]))
        }
    }

    @Test(
        "what follows from a status",
        arguments: [
            (200, false, MonitoringMessage.Verdict.delivered), (201, true, .delivered), (204, false, .delivered),
            (502, false, .again), (503, true, .again), (504, false, .again),
            (400, false, .refused), (409, false, .refused), (409, true, .delivered), (500, true, .refused),
            (304, false, .refused),
        ]
    )
    func verdicts(status: Int, isRepeated: Bool, verdict: MonitoringMessage.Verdict) {
        #expect(MonitoringMessage.Verdict(HTTPResponseStatus(statusCode: status), isRepeated: isRepeated) == verdict)
    }

    @Test(
        "a time has milliseconds and no zone",
        arguments: [
            (0, "1970-01-01T00:00:00.000"), (1_782_470_897_007, "2026-06-26T10:48:17.007"),
            (951_782_399_999, "2000-02-28T23:59:59.999"), (-1, "1969-12-31T23:59:59.999"),
        ]
    )
    func times(milliseconds: Int64, text: String) {
        #expect(ISO8601.format(milliseconds: milliseconds) == text)
    }

    @Test("an event's UUID is a random one: version 4, variant 1")
    func uuids() {
        let uuids = (0..<200).map { _ in MonitoringMessage.newUUID() }
        #expect(Set(uuids).count == 200)
        for uuid in uuids {
            #expect(uuid.wholeMatch(of: /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/) != nil)
        }
    }

    @Test("a repetition waits longer each time, up to a bound")
    func backoff() {
        var backoff = RetryBackoff()
        for longest in [100, 200, 400, 800, 1600, 3200, 3200, 3200] {
            let wait = backoff.next()
            #expect(wait >= .milliseconds(longest / 2) && wait <= .milliseconds(longest))
        }
        #expect(backoff.attempts == 8)
    }

    @Test(
        "an address is split from its credentials",
        arguments: [
            ("http://localhost:8000", "http://localhost:8000", nil),
            ("https://host/base//", "https://host/base", nil),
            (
                "http://user:p%40%3Ass@host:1/x@y", "http://host:1/x@y",
                HTTPEndpoint.Credentials(user: "user", password: "p@:ss")
            ),
            ("http://user@host", "http://host", HTTPEndpoint.Credentials(user: "user", password: "")),
            ("http://%zz%:a@host", "http://host", HTTPEndpoint.Credentials(user: "%zz%", password: "a")),
        ]
    )
    func endpoints(url: String, base: String, credentials: HTTPEndpoint.Credentials?) {
        let endpoint = HTTPEndpoint(url)
        #expect(endpoint.base == base)
        #expect(endpoint.credentials == credentials)
    }
}
