public import JSON

/// A part of the agent that Python code calls: the monitoring, the proxy, the database, …
///
/// The classes in Python (`armada_agent.sdk`) are thin: each of their calls is one call of a module, with JSON objects as arguments and a value of Python's
/// built-in types as its answer.
public protocol AgentModule: Sendable {
    /// What its methods' names begin with: `database` for `database.select`.
    var name: String { get }

    /// Answers one call. Many may run at the same time. The task is cancelled when the caller has gone.
    /// - Parameters:
    ///   - method: without the module's name.
    ///   - reply: takes what is to be sent before the end, for answers that are too large for one piece.
    /// - Returns: the answer.
    func call(_ method: String, _ arguments: ModuleArguments, reply: ModuleReply) async throws(ModuleError)
        -> PythonValue

    /// Runs for as long as modules are served: timers, supervised processes. By default there is nothing to do.
    func run() async throws
}

extension AgentModule {
    public func run() async throws {}
}

/// What a call is made with.
public struct ModuleArguments: Sendable {
    /// The arguments by name.
    public var values: JSONObject
    /// The process that calls, and the job that it runs, if it runs one.
    public var caller: Caller

    public struct Caller: Sendable, Equatable {
        /// As the kernel tells it.
        public var pid: Int32
        /// The task's id.
        public var job: String?

        public init(pid: Int32, job: String? = nil) {
            self.pid = pid
            self.job = job
        }
    }

    public init(values: JSONObject, caller: Caller) {
        self.values = values
        self.caller = caller
    }

    public subscript(name: String) -> JSON? { self.values[name] }

    /// - Throws: an error that says what is missing, or of which kind the value was.
    public func string(_ name: String) throws(ModuleError) -> String {
        guard let value = self.values[name] else { throw .argument(name, found: "nothing", expected: "a string") }
        guard let text = value.string else { throw .argument(name, found: value.kind, expected: "a string") }
        return text
    }

    /// `nil` where it is missing or `None`.
    public func optionalString(_ name: String) throws(ModuleError) -> String? {
        guard let value = self.values[name], !value.isNull else { return nil }
        return try self.string(name)
    }

    public func object(_ name: String) throws(ModuleError) -> JSONObject {
        guard let value = self.values[name] else { throw .argument(name, found: "nothing", expected: "an object") }
        guard let object = value.object else { throw .argument(name, found: value.kind, expected: "an object") }
        return object
    }
}

/// Why a call has failed, for the Python code that made it.
public struct ModuleError: Error, Sendable, Equatable, CustomStringConvertible {
    /// By which the SDK chooses the exception: `argument`, `timeout`, `network`, `status`, …; each module's documentation lists its own.
    public var kind: String
    /// What happened, what was expected, what to do. Holds no secret.
    public var message: String
    /// What the exception carries beside the text.
    public var details: JSONObject

    public init(_ kind: String, _ message: String, details: JSONObject = [:]) {
        self.kind = kind
        self.message = message
        self.details = details
    }

    public static func argument(_ name: String, found: String, expected: String) -> ModuleError {
        ModuleError("argument", "\(name): found \(found), expected \(expected)")
    }

    public static func unknownMethod(_ method: String) -> ModuleError {
        ModuleError("unknown_method", "the agent has no method '\(method)': are the SDK and the agent of one version?")
    }

    public var description: String { "\(self.kind): \(self.message)" }
}
