import JSON
import Testing

@testable import Celery

@Suite("What a task asks of its worker")
struct TaskOptionsTests {
    @Test("of Celery 5.7 two options tell when a late task is acknowledged, of 5.6 one")
    func acknowledgements() {
        let older = TaskOptions(manifest: ["acks_late": true, "acks_on_failure_or_timeout": false])
        #expect(older == TaskOptions(acksLate: true, acksOnFailure: false, acksOnTimeout: false))
        let newer = TaskOptions(manifest: [
            "acks_late": true, "acks_on_failure_or_timeout": true, "acks_on_failure": true, "acks_on_timeout": false,
        ])
        #expect(newer == TaskOptions(acksLate: true, acksOnFailure: true, acksOnTimeout: false))
        let partly = TaskOptions(manifest: [
            "acks_on_failure_or_timeout": false, "acks_on_failure": true, "acks_on_timeout": .null,
        ])
        #expect(partly == TaskOptions(acksOnFailure: true, acksOnTimeout: false))
    }

    @Test("nothing told is Celery's default")
    func defaults() {
        #expect(TaskOptions(manifest: [:]) == TaskOptions())
    }
}
