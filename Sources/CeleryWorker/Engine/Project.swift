import Celery
import JSON

/// The loaded project, as the engine needs it for each message.
struct Project: Sendable {
    let manifest: Manifest
    let registry: TaskRegistry

    init(manifest: Manifest) {
        self.manifest = manifest
        self.registry = TaskRegistry(tasks: manifest.tasks, acceptContent: manifest.acceptContent)
    }

    var queues: [QueueSpecification] { self.manifest.queues }

    /// Where events are published (`event_exchange`).
    var eventExchange: String { self.setting("event_exchange")?.string ?? "celeryev" }

    func setting(_ name: String) -> JSON? { self.manifest.configuration[name] }
}
