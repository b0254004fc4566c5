import Celery
import JSON

/// The loaded project, as the engine needs it for each message.
struct Project: Sendable {
    var manifest: Manifest
    /// Remote control changes limits of its tasks.
    var registry: TaskRegistry
    /// Those of the manifest, and what remote control has added or taken away since.
    var queues: [QueueSpecification]

    init(manifest: Manifest) {
        self.manifest = manifest
        self.registry = TaskRegistry(tasks: manifest.tasks, acceptContent: manifest.acceptContent)
        self.queues = manifest.queues
    }

    /// Where events are published (`event_exchange`).
    var eventExchange: String { self.setting("event_exchange")?.string ?? "celeryev" }

    /// Whether the project's Celery is of this version or a later one.
    func isAtLeast(_ major: Int, _ minor: Int) -> Bool {
        let numbers = self.manifest.celeryVersion.split(separator: ".").prefix(2).compactMap { Int($0) }
        return numbers.count == 2 && (numbers[0], numbers[1]) >= (major, minor)
    }

    func setting(_ name: String) -> JSON? { self.manifest.configuration[name] }
}
