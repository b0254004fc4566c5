import Logging
import NIOCore
import Spawning

/// Installs what `REQUIREMENTS_TXT` asks for, before the user's code is loaded.
public struct RequirementsInstaller: Sendable {
    /// What was done.
    public enum Outcome: Equatable, Sendable {
        /// The requirements ask for nothing.
        case nothingAsked
        /// The same requirements were installed before into this environment.
        case unchanged
        /// Installed now, by `uv` or `pip`.
        case installed(tool: String)
    }

    /// How many of an installer's last lines an error repeats.
    private static let linesInError = 12
    private static let fileName = "requirements.txt"

    private let python: String
    private let environment: [String: String]
    private let eventLoop: any EventLoop
    private let logger: Logger

    /// - Parameters:
    ///   - python: the path of the interpreter whose environment is installed into.
    ///   - environment: of our own process; the installer gets it without the agent's secrets.
    public init(python: String, environment: [String: String], on eventLoop: any EventLoop, logger: Logger) {
        self.python = python
        self.eventLoop = eventLoop
        self.logger = logger
        self.environment = environment.filter { variable in
            !AgentConfiguration.secretVariables.contains(variable.key) && variable.key != Variables.rabbitMQURL.name
        }
    }

    /// Installs the requirements, unless they are unchanged since they were installed into this environment.
    ///
    /// Cancellation ends the installer with all that it started.
    ///
    /// - Parameter base64: the value of `REQUIREMENTS_TXT`.
    /// - Throws: ``RequirementsError`` or `CancellationError`.
    public func install(base64: String) async throws -> Outcome {
        let requirements = try Requirements(base64: base64)
        guard !requirements.isEmpty else { return .nothingAsked }
        let target = try await PythonEnvironment.of(
            python: self.python,
            environment: self.environment,
            on: self.eventLoop
        )
        // Two agents of one machine may share an environment; the second then finds its work done.
        guard target.isWritable else { return try await self.install(requirements, into: target) }
        do {
            return try await FileSystem.withLock(target.packages + "/.armada-agent-requirements.lock") {
                self.logger.info("another agent installs requirements, waiting for it")
            } _: {
                try await self.install(requirements, into: target)
            }
        } catch let error as FileSystem.Failure {
            throw RequirementsError.fileSystem(reason: error.description)
        }
    }

    private func install(_ requirements: Requirements, into target: PythonEnvironment) async throws -> Outcome {
        let stamp = Self.stamp(of: requirements, in: target)
        if !requirements.dependsOnLocalFiles, let file = target.stampFile,
            FileSystem.read(file, limit: 1024) == Array(stamp.utf8)
        {
            self.logger.info("requirements unchanged, not installed again", metadata: [LogKeys.path: .string(file)])
            return .unchanged
        }
        let tool = try self.tool(for: target)
        try await self.run(tool, requirements)
        self.leave(stamp, in: target)
        return .installed(tool: tool.name)
    }

    /// A program that installs requirements.
    private struct Tool {
        var name: String
        var executable: String
        /// Those before the requirements file's path.
        var arguments: [String]
    }

    private func tool(for target: PythonEnvironment) throws(RequirementsError) -> Tool {
        // uv never falls back to a user's own folder, as pip does.
        if target.isWritable, let uv = self.uv {
            let arguments = [
                "pip", "install", "--python", self.python, "--no-progress", "--color", "never", "--requirement",
            ]
            return Tool(name: "uv", executable: uv, arguments: arguments)
        }
        guard target.hasPip else { throw .noInstaller(python: self.python) }
        let arguments = [
            "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar", "off",
            "--requirement",
        ]
        return Tool(name: "pip", executable: self.python, arguments: arguments)
    }

    private var uv: String? {
        let beside = (self.python.split(separator: "/", omittingEmptySubsequences: false).dropLast() + ["uv"])
            .joined(separator: "/")
        if self.python.contains("/"), FileSystem.isExecutable(beside) { return beside }
        return PythonLocator.onPath("uv", path: self.environment["PATH"])
    }

    private func run(_ tool: Tool, _ requirements: Requirements) async throws {
        let folder: String
        do throws(FileSystem.Failure) {
            folder = try FileSystem.makePrivateFolder(environment: self.environment)
            try FileSystem.write(requirements.bytes, to: folder + "/" + Self.fileName)
        } catch {
            throw RequirementsError.fileSystem(reason: error.description)
        }
        defer { FileSystem.removeFolder(folder, files: [Self.fileName]) }

        self.logger.info(
            "installing requirements",
            metadata: [LogKeys.tool: .string(tool.name), LogKeys.python: .string(self.python)]
        )
        let mask = SecretMask(requirements.secrets(environment: self.environment))
        let child = ChildProcess(
            executable: tool.executable,
            arguments: tool.arguments + [folder + "/" + Self.fileName],
            environment: self.environment,
            eventLoop: self.eventLoop
        )
        var last: [String] = []
        let clock = ContinuousClock()
        let start = clock.now
        let exit: ProcessExit
        do {
            exit = try await child.run { line in
                let shown = LogText.escaped(mask(line), quotes: false)
                self.logger.log(level: Self.level(of: shown), "\(shown)", metadata: [LogKeys.tool: .string(tool.name)])
                if last.count == Self.linesInError { last.removeFirst() }
                last.append(shown)
            }
        } catch {
            try Task.checkCancellation()
            throw RequirementsError.failed(tool: tool.name, how: "can't be run (\(error))", lines: last)
        }
        guard exit.isSuccess else {
            throw RequirementsError.failed(tool: tool.name, how: "failed (\(exit.status))", lines: last)
        }
        self.logger.info(
            "requirements installed",
            metadata: [
                LogKeys.tool: .string(tool.name), LogKeys.seconds: .string(start.duration(to: clock.now).seconds),
            ]
        )
    }

    /// How much a line of an installer matters.
    static func level(of line: String) -> Logger.Level {
        let start = line.drop { $0 == " " || $0 == "×" || $0 == "╰" || $0 == "─" }.lowercased()
        if start.hasPrefix("error") { return .error }
        if start.hasPrefix("warning") { return .warning }
        return start.hasPrefix("requirement already satisfied") ? .debug : .info
    }

    /// A hash, since requirements may hold secrets, of all that decides whether they are installed.
    private static func stamp(of requirements: Requirements, in target: PythonEnvironment) -> String {
        let hashed = Array("\(target.version)\n\(target.packages)\n".utf8) + requirements.bytes
        return "sha256 " + SHA256.hex(hashed) + "\n"
    }

    /// Not being able to leave the stamp only costs time at the next start.
    private func leave(_ stamp: String, in target: PythonEnvironment) {
        guard let file = target.stampFile else { return }
        do throws(FileSystem.Failure) {
            try FileSystem.write(Array(stamp.utf8), to: file)
        } catch {
            self.logger.debug("the requirements' stamp can't be left", metadata: [LogKeys.error: .string("\(error)")])
        }
    }
}
