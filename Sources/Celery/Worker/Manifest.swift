public import JSON
public import NIOCore

/// The Python main process reported something that this worker can't use.
public struct ManifestError: Error, Sendable, Equatable, CustomStringConvertible {
    public var message: String

    public init(_ message: String) { self.message = message }

    public var description: String { "the Python main process reported an unusable project: \(self.message)" }
}

/// What the Python main process tells of the project once its code is loaded.
public struct Manifest: Sendable {
    /// The versions of Celery, kombu and Python in the main process.
    public var celeryVersion: String
    public var kombuVersion: String
    public var pythonVersion: String
    /// The app's configuration, as far as the parent side of a worker reads it.
    public var configuration: JSON
    public var tasks: [String: TaskOptions]
    /// The queues to consume from.
    public var queues: [QueueSpecification]
    /// The queues that the app knows beside those.
    public var otherQueues: [QueueSpecification]
    /// The content types that messages may have.
    public var acceptContent: Set<String>
    /// After how many tasks a Python worker is replaced; `nil` for never.
    public var maximumTasksPerChild: Int?
    /// Signals that the project listens to; the others need not be fired.
    public var signalReceivers: Set<String>

    public init(parsing buffer: ByteBuffer) throws(ManifestError) {
        let manifest: JSON
        do throws(JSONError) {
            manifest = try JSON(parsing: buffer)
        } catch {
            throw ManifestError(error.description)
        }
        guard let tasks = manifest["tasks"]?.object else { throw ManifestError("it has no 'tasks'") }
        self.celeryVersion = manifest["celery"]?.string ?? ""
        self.kombuVersion = manifest["kombu"]?.string ?? ""
        self.pythonVersion = manifest["python"]?.string ?? ""
        self.configuration = manifest["conf"] ?? [:]
        self.tasks = Dictionary(
            tasks.map { ($0.key, TaskOptions(manifest: $0.value)) },
            uniquingKeysWith: { _, last in last }
        )
        self.queues = try Self.queues(manifest["queues"])
        self.otherQueues = try Self.queues(manifest["other_queues"])
        self.acceptContent = Set(manifest["accept_content"]?.array?.compactMap(\.string) ?? ["application/json"])
        self.maximumTasksPerChild = manifest["max_tasks_per_child"]?.int
        self.signalReceivers = Set(manifest["receivers"]?.array?.compactMap(\.string) ?? [])
    }

    private static func queues(_ manifests: JSON?) throws(ManifestError) -> [QueueSpecification] {
        var queues: [QueueSpecification] = []
        for queue in manifests?.array ?? [] { queues.append(try QueueSpecification(manifest: queue)) }
        return queues
    }
}
