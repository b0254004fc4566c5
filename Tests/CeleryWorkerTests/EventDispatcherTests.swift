import Celery
import JSON
import NIOCore
import Testing

@testable import CeleryWorker

@Suite("The event dispatcher")
struct EventDispatcherTests {
    private func dispatcher(_ groups: Set<EventGroup> = [.task, .worker]) -> EventDispatcher {
        EventDispatcher(encoder: EventEncoder(nodeName: "w\"@h", utcOffset: -1, pid: 7), groups: groups)
    }

    @Test("an event's fields stand in Celery's order")
    func fields() {
        let batch = self.dispatcher().worker(.workerHeartbeat, clock: 5, timestamp: 1.5) { event in
            event.add("freq", 2.0)
            event.add("active", 1)
            event.add("gone", nil as String?)
            event.add("loadavg", [0.5])
            event.add("flag", true)
        }
        #expect(batch.routingKey == "worker.heartbeat")
        #expect(
            String(buffer: batch.body)
                == #"{"hostname": "w\"@h", "utcoffset": -1, "pid": 7, "clock": 5, "freq": 2.0, "active": 1, "gone": null, "#
                + #""loadavg": [0.5], "flag": true, "timestamp": 1.5, "type": "worker-heartbeat"}"#
        )
    }

    @Test("events of tasks are gathered into one list")
    func list() throws {
        var dispatcher = self.dispatcher()
        for number in 0..<3 {
            let full = dispatcher.task(.taskStarted, clock: Int64(number), timestamp: 1) {
                $0.add("uuid", "t\(number)")
            }
            #expect(full == nil)
        }
        let flushed = dispatcher.flush()
        let batch = try #require(flushed)
        #expect(batch.routingKey == "task.multi")
        let events = try #require(try JSON(parsing: batch.body).array)
        #expect(events.map { $0["uuid"]?.string } == ["t0", "t1", "t2"])
        let again = dispatcher.flush()
        #expect(again == nil)
    }

    @Test("a full list goes out at once")
    func full() throws {
        var dispatcher = self.dispatcher()
        var batches: [EventDispatcher.Batch] = []
        for number in 0..<EventDispatcher.batchLimit {
            if let batch = dispatcher.task(.taskStarted, clock: Int64(number), timestamp: 1, fields: { _ in }) {
                batches.append(batch)
            }
        }
        #expect(batches.count == 1)
        #expect(try JSON(parsing: try #require(batches.first).body).array?.count == EventDispatcher.batchLimit)
    }

    @Test("groups are switched once")
    func groups() {
        var dispatcher = self.dispatcher([.worker])
        #expect(!dispatcher.sends(.task))
        let changes = [
            dispatcher.enable(.task), dispatcher.enable(.task), dispatcher.disable(.task), dispatcher.disable(.task),
        ]
        #expect(changes == [true, false, true, false])
    }
}

@Suite("Patterns for nodes")
struct NodePatternTests {
    @Test(
        "globs and expressions, as kombu's matchers have them",
        arguments: [
            ("worker*", "glob", true), ("*@host", "glob", true), ("worker?@host", "glob", true),
            ("other*", "glob", false),
            ("worker[12]@.*", "pcre", true), ("worker", "pcre", true), ("@host", "pcre", false), ("(", "pcre", false),
            ("worker1@host", "exact", false),
        ]
    )
    func matches(pattern: String, matcher: String, expected: Bool) {
        #expect(NodePattern(pattern: pattern, matcher: matcher).matches("worker1@host") == expected)
    }
}

@Suite("Settlements that were never sent")
struct UnsentSettlementsTests {
    @Test("each is used up by one redelivery, the oldest first")
    func usedUp() {
        var unsent = UnsentSettlements()
        let fingerprint = MessageFingerprint(LedgerTests.message())
        unsent.insert(fingerprint, .acknowledge)
        unsent.insert(fingerprint, .reject(requeue: false))
        unsent.insert(fingerprint, .reject(requeue: true))
        let taken = [unsent.take(fingerprint), unsent.take(fingerprint), unsent.take(fingerprint)]
        #expect(taken == [.acknowledge, .reject(requeue: false), nil])
    }

    @Test("what is kept is bounded")
    func bounded() {
        var unsent = UnsentSettlements()
        for number in 0...UnsentSettlements.limit {
            unsent.insert(MessageFingerprint(LedgerTests.message("t\(number)")), .acknowledge)
        }
        let oldest = unsent.take(MessageFingerprint(LedgerTests.message("t0")))
        let newest = unsent.take(MessageFingerprint(LedgerTests.message("t\(UnsentSettlements.limit)")))
        #expect(oldest == nil)
        #expect(newest == .acknowledge)
    }
}
