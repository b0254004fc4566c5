import CPool
import Glibc
import NIOCore
import Spawning

/// The system calls of the pool, with Swift's errors.
enum System {
    /// The value of a call that returns -errno when it fails.
    @discardableResult
    static func check(_ call: String, _ result: Int32) throws(PoolError) -> Int32 {
        guard result >= 0 else { throw .system(call: call, errno: -result) }
        return result
    }

    static func pair(sequenced: Bool) throws(PoolError) -> (Descriptor, Descriptor) {
        var ends: [Int32] = [-1, -1]
        let kind = Int32((sequenced ? SOCK_SEQPACKET : SOCK_STREAM).rawValue)
        try check("socketpair", cpool_socketpair(kind, &ends))
        return (Descriptor(ends[0]), Descriptor(ends[1]))
    }

    /// A pipe for what a process writes, if that is relayed.
    static func outputPipe(
        _ output: PoolConfiguration.Output
    ) throws(PoolError) -> (reading: Descriptor, writing: Descriptor)? {
        guard output == .relayed else { return nil }
        do throws(SystemCallFailure) {
            return try Descriptor.pipe()
        } catch {
            throw PoolError(error)
        }
    }

    /// CLOCK_MONOTONIC in nanoseconds.
    static var now: UInt64 { cpool_uptime() }
}

/// The Python main process.
struct MainProcess {
    let pid: Int32
    let control: Descriptor
    let spawns: Descriptor
    /// Ends of pipes, if output is relayed.
    let standardOutput: Descriptor?
    let standardError: Descriptor?

    /// What the interpreter is told to run. The package's folder comes last in the search path, and by an argument, so
    /// that nothing of it shows in the environment of what the user's code starts; but the package itself is the agent's own, also where the user has
    /// installed the SDK.
    private static let program = """
        import sys; sys.path.insert(0, sys.argv.pop(1)); import armada_agent; sys.path.append(sys.path.pop(0)); \
        from armada_agent.runtime.main import main; main()
        """

    /// Starts the process; it dies with the calling thread.
    static func start(_ configuration: PoolConfiguration) throws(PoolError) -> MainProcess {
        let control = try System.pair(sequenced: false)
        let spawns = try System.pair(sequenced: true)
        let output = try System.outputPipe(configuration.output)
        let error = try System.outputPipe(configuration.output)
        let spawn = Spawn(
            executable: configuration.python,
            arguments: configuration.interpreterArguments + ["-c", program, configuration.runtime],
            environment: configuration.environment,
            inherited: [control.1.number, spawns.1.number] + configuration.inherited
        )
        let pid: Int32
        do throws(SystemCallFailure) {
            pid = try spawn.start(
                output: output?.writing.number ?? STDOUT_FILENO,
                error: error?.writing.number ?? STDERR_FILENO
            )
        } catch {
            throw PoolError(error)
        }
        return MainProcess(
            pid: pid,
            control: control.0,
            spawns: spawns.0,
            standardOutput: output?.reading,
            standardError: error?.reading
        )
    }
}

extension Duration {
    /// Whole nanoseconds, not less than 0.
    var nanoseconds: UInt64 {
        let parts = components
        guard parts.seconds >= 0, parts.attoseconds >= 0 else { return 0 }
        let seconds = UInt64(parts.seconds).multipliedReportingOverflow(by: 1_000_000_000)
        guard !seconds.overflow else { return .max / 2 }
        return min(seconds.partialValue &+ UInt64(parts.attoseconds) / 1_000_000_000, .max / 2)
    }

    var timeAmount: TimeAmount { .nanoseconds(Int64(nanoseconds)) }
}
