import JSON
import NIOCore

/// The agent message: what the orchestrator put into Redis for one agent of a run.
///
/// Python gets its bytes as they are, and adds `run_id` and `pod_index` to what it decodes from them; here they are
/// only checked.
public struct TaskDefinition: Sendable {
    public var runID: String
    public var podIndex: String
    /// A JSON object with a string `code`, as it came.
    public var body: ByteBuffer

    /// The key under which a run's agent finds its definition.
    public static func key(runID: String, podIndex: String) -> String { runID + podIndex }

    /// Checks `body`.
    ///
    /// - Throws: ``TaskDefinitionError/invalid(key:found:)``, which says what was found in place of what is needed.
    public init(runID: String, podIndex: String, body: ByteBuffer) throws(TaskDefinitionError) {
        let key = Self.key(runID: runID, podIndex: podIndex)
        let value: JSON
        do throws(JSONError) {
            value = try JSON(parsing: body)
        } catch {
            let size = body.readableBytes == 1 ? "1 byte" : "\(body.readableBytes) bytes"
            throw .invalid(key: key, found: "\(size), \(LogText.escaped(error.description, quotes: false))")
        }
        guard let object = value.object else { throw .invalid(key: key, found: value.kind) }
        guard let code = object["code"] else { throw .invalid(key: key, found: "an object without \"code\"") }
        guard case .string = code else {
            throw .invalid(key: key, found: "an object whose \"code\" is \(code.kind)")
        }
        self.runID = runID
        self.podIndex = podIndex
        self.body = body
    }
}
