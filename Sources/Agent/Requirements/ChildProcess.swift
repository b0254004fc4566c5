import AgentModules
import NIOCore
import Spawning

/// A helper program run to its end, with all that it starts; it ends with the agent.
struct ChildProcess: Sendable {
    /// The path of the program.
    var executable: String
    var arguments: [String]
    var environment: [String: String]
    var eventLoop: any EventLoop

    /// Runs the program with nothing on its standard input, and hands over each line of its output and errors as it comes, without empty ones; what a progress
    /// bar writes over is a line, too.
    ///
    /// Cancellation ends the program's process group with SIGTERM, and after 3 s with SIGKILL; then `CancellationError` is thrown.
    func run(onLine: (String) -> Void) async throws -> ProcessExit {
        let (lines, continuation) = AsyncStream.makeStream(of: String.self)
        let command = ProcessCommand(
            executable: self.executable,
            arguments: self.arguments,
            environment: self.environment,
            standardOutput: .lines { continuation.yield($0) },
            standardError: .lines { continuation.yield($0) },
            grace: .seconds(3),
            remedy: "is AGENT_PYTHON the path of an installed Python?"
        )
        let (_, exit) = try await ManagedProcess.run(command, on: self.eventLoop) { process in
            async let end: Void = {
                defer { continuation.finish() }
                _ = try await process.exit()
            }()
            for await line in lines {
                for part in line.utf8.split(separator: UInt8(ascii: "\r")) { onLine(String(part) ?? line) }
            }
            try await end
        }
        try Task.checkCancellation()
        return exit
    }
}

extension ProcessExit {
    var isSuccess: Bool { self == .code(0) }

    /// As shells say it.
    var status: String {
        switch self {
        case .code(let code): "exit status \(code)"
        case .signal(let signal): "ended by signal \(signal)"
        }
    }
}
