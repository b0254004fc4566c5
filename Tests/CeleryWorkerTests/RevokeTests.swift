import AMQP
import Celery
import JSON
import NIOCore
import Testing

@testable import CeleryWorker

@Suite("Revoked tasks")
struct RevokedTasksTests {
    @Test("the oldest is forgotten when there are too many")
    func count() {
        var tasks = RevokedTasks(bounds: .init(count: 3, age: 100))
        for (time, id) in ["a", "b", "c", "d"].enumerated() { tasks.insert(id, now: Double(time)) }
        #expect(tasks.ids == ["b", "c", "d"])
        #expect(!tasks.contains("a"))
        #expect(tasks.contains("d"))
    }

    @Test("what is too old is forgotten")
    func age() {
        var tasks = RevokedTasks(bounds: .init(count: 100, age: 10))
        tasks.insert("a", now: 0)
        tasks.insert("b", now: 5)
        tasks.purge(now: 10.5)
        #expect(tasks.ids == ["b"])
    }

    @Test("to be revoked again makes an id younger, and takes no more room")
    func again() {
        var tasks = RevokedTasks(bounds: .init(count: 2, age: 10))
        tasks.insert("a", now: 0)
        tasks.insert("b", now: 1)
        for time in 2...10_000 { tasks.insert("a", now: Double(time) / 1000) }
        tasks.insert("c", now: 10)
        #expect(tasks.ids == ["a", "c"])
        #expect(tasks.count == 2)
        tasks.purge(now: 19)
        #expect(tasks.ids == ["a", "c"])
    }

    @Test("a neighbour's ids are added, and known ones keep their age")
    func merge() {
        var tasks = RevokedTasks(bounds: .init(count: 10, age: 10))
        tasks.insert("a", now: 0)
        tasks.merge(["a", "b"], now: 8)
        tasks.purge(now: 11)
        #expect(tasks.ids == ["b"])
    }
}

@Suite("Revoked stamps")
struct RevokedStampsTests {
    private func message(_ headers: FieldTable) -> TaskMessage {
        var message = LedgerTests.message()
        message.properties.headers = headers
        return message
    }

    private func stamped(_ value: FieldValue, header: String = "job") -> TaskMessage {
        self.message(["stamped_headers": .array([.string(header)]), "stamps": .table([header: value])])
    }

    @Test("a value, and a list of values, match a revoked value")
    func match() {
        var stamps = RevokedStamps()
        stamps.insert(["job": ["a", "b"], "other": "x"])
        #expect(stamps.match(self.stamped(.string("b")))?.value == "b")
        #expect(stamps.match(self.stamped(.array([.string("z"), .string("a")])))?.value == "a")
        #expect(stamps.match(self.stamped(.string("x"), header: "other"))?.header == "other")
        #expect(stamps.match(self.stamped(.string("c"))) == nil)
        #expect(stamps.match(self.stamped(.string("a"), header: "unknown")) == nil)
    }

    @Test("what was revoked before stays revoked")
    func accumulate() {
        var stamps = RevokedStamps()
        stamps.insert(["job": "a"])
        stamps.insert(["job": "b"])
        #expect(stamps.match(self.stamped(.string("a"))) != nil)
        #expect(stamps.match(self.stamped(.string("b"))) != nil)
    }

    @Test("a stamp that stamped_headers doesn't name is none, and headers of wrong types are none")
    func unnamed() {
        var stamps = RevokedStamps()
        stamps.insert(["job": "a"])
        #expect(stamps.match(self.message(["stamps": .table(["job": .string("a")])])) == nil)
        #expect(stamps.match(self.message(["stamped_headers": .string("job"), "stamps": .string("a")])) == nil)
        #expect(stamps.match(self.message([:])) == nil)
    }
}

@Suite("Names of signals")
struct SignalNameTests {
    @Test(
        "names and numbers, as Celery reads them",
        arguments: [
            (JSON.null, 15), ("", 15), ("TERM", 15), ("SIGKILL", 9), ("USR1", 10), (9, 9),
        ] as [(JSON, Int32)]
    )
    func reads(value: JSON, number: Int32) throws { #expect(try SignalName.number(value) == number) }

    @Test("others are refused in Python's words")
    func refuses() {
        #expect(throws: SignalNameError(found: "kill", isName: false)) { try SignalName.number("kill") }
        #expect(throws: SignalNameError(found: "SIGFOO", isName: true)) { try SignalName.number("FOO") }
        #expect(throws: SignalNameError(found: "a boolean", isName: false)) { try SignalName.number(true) }
        #expect(throws: SignalNameError(found: "99999999999", isName: false)) { try SignalName.number(99_999_999_999) }
        #expect(
            SignalNameError(found: "SIGFOO", isName: true).representation
                == "AttributeError(\"module 'signal' has no attribute 'SIGFOO'\")"
        )
    }
}
