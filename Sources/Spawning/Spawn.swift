import CPool
import Glibc

/// How a process is started that dies with the agent.
public struct Spawn: Sendable {
    /// A path.
    public var executable: String
    /// Without the program's name.
    public var arguments: [String]
    public var environment: [String: String]
    /// Become the child's descriptors 3, 4, …; at most 16.
    public var inherited: [Int32]

    public init(executable: String, arguments: [String], environment: [String: String], inherited: [Int32]) {
        self.executable = executable
        self.arguments = arguments
        self.environment = environment
        self.inherited = inherited
    }

    /// Starts the process with nothing on its standard input, in a session of its own; the kernel kills it when the calling thread ends. That has to be one that lives as long as the agent:
    /// an event loop's.
    /// - Parameters:
    ///   - output: becomes its standard output.
    ///   - error: becomes its standard error.
    /// - Returns: its number, to be reaped by the caller.
    public func start(output: Int32, error: Int32) throws(SystemCallFailure) -> Int32 {
        let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
        guard null >= 0 else { throw SystemCallFailure(call: "open /dev/null", number: errno) }
        defer { close(null) }
        let inherited = self.inherited
        var pid: Int32 = 0
        let result = Self.withCStrings([executable] + arguments) { arguments in
            Self.withCStrings(environment.map { "\($0.key)=\($0.value)" }) { environment in
                cpool_spawn(
                    executable,
                    arguments,
                    environment,
                    [null, output, error],
                    inherited,
                    inherited.count,
                    &pid
                )
            }
        }
        try SystemCallFailure.check("starting \(executable)", result)
        return pid
    }

    private static func withCStrings<Result>(
        _ strings: [String],
        _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
    ) -> Result {
        let copies = strings.map { strdup($0) }
        defer { for copy in copies { free(copy) } }
        return body(copies + [nil])
    }
}
