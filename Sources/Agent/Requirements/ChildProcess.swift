import Subprocess
import SystemPackage

/// A helper program run to its end, in a session of its own, so that ending it ends all that it started.
struct ChildProcess {
    /// The path of the program.
    var executable: String
    var arguments: [String]
    var environment: [String: String]

    /// How the program ended.
    enum Outcome: Equatable {
        case exited(Int32)
        case signaled(Int32)

        var isSuccess: Bool { self == .exited(0) }
    }

    /// Runs the program with nothing on its standard input, and hands over each line of its output and errors as it
    /// comes.
    ///
    /// Cancellation ends the program's process group with SIGTERM, and after 3 s with SIGKILL; then
    /// `CancellationError` is thrown.
    func run(onLine: (String) -> Void) async throws -> Outcome {
        var options = PlatformOptions()
        options.createSession = true
        options.teardownSequence = [
            .send(signal: .terminate, toProcessGroup: true, allowedDurationToNextStep: .seconds(3)),
            .send(signal: .kill, toProcessGroup: true, allowedDurationToNextStep: .seconds(1)),
        ]
        let result = try await Subprocess.run(
            .path(FilePath(self.executable)),
            arguments: Arguments(self.arguments),
            environment: .custom(
                self.environment.reduce(into: [:]) { variables, variable in
                    if let key = Environment.Key(rawValue: variable.key) { variables[key] = variable.value }
                }
            ),
            platformOptions: options,
            input: .none,
            output: .sequence,
            error: .combinedWithOutput
        ) { execution in
            var splitter = LineSplitter()
            for try await buffer in execution.standardOutput {
                let lines = buffer.withUnsafeBytes { splitter.append($0) }
                lines.forEach(onLine)
            }
            if let line = splitter.finish() { onLine(line) }
        }
        try Task.checkCancellation()
        switch result.terminationStatus {
        case .exited(let code): return .exited(code)
        case .signaled(let signal): return .signaled(signal)
        }
    }
}
