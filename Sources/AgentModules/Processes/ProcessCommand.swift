import Glibc
public import NIOCore
import Spawning

/// What a ``ManagedProcess`` runs.
public struct ProcessCommand: Sendable {
    /// What becomes of one of the two streams that the process writes to.
    public enum Output: Sendable {
        /// Each line is handed over as it comes, on the event loop; one of more than 8 KiB in pieces. The last ones are kept for ``ManagedProcess/lastLines``.
        case lines(@Sendable (String) -> Void)
        /// Bytes are handed over as they come, on the event loop.
        case bytes(@Sendable (ByteBuffer) -> Void)
        /// The process writes to this descriptor, which stays the caller's.
        case descriptor(Int32)
    }

    /// A path, or a name that is looked for in the folders of `PATH`.
    public var executable: String
    /// Without the program's name.
    public var arguments: [String]
    /// All of it: nothing is inherited.
    public var environment: [String: String]
    /// Become the child's descriptors 3, 4, …; they stay the caller's, who may close them once the process runs. At most 16.
    public var inherited: [Int32]
    public var standardOutput: Output
    public var standardError: Output
    /// How long the process group has between SIGTERM and SIGKILL.
    public var grace: Duration
    /// What is to be done where the program is not there: "install Debian's package xvfb".
    public var remedy: String

    public init(
        executable: String,
        arguments: [String] = [],
        environment: [String: String],
        inherited: [Int32] = [],
        standardOutput: Output = .lines { _ in },
        standardError: Output = .lines { _ in },
        grace: Duration = .seconds(5),
        remedy: String
    ) {
        self.executable = executable
        self.arguments = arguments
        self.environment = environment
        self.inherited = inherited
        self.standardOutput = standardOutput
        self.standardError = standardError
        self.grace = grace
        self.remedy = remedy
    }

    /// What programs need that know nothing of the agent: of its environment, what tells of the system and its user, and nothing that may be a secret.
    public static var basicEnvironment: [String: String] {
        let names = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"]
        return names.reduce(into: [:]) { environment, name in
            if let value = getenv(name) { environment[name] = String(cString: value) }
        }
    }

    /// The path of the program.
    /// - Throws: an error of the kind `missing`, which tells of the remedy.
    func path() throws(ModuleError) -> String {
        if self.executable.contains("/") { return self.executable }
        let folders = self.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
        for folder in folders.split(separator: ":") where folder.hasPrefix("/") {
            let candidate = "\(folder)/\(self.executable)"
            var status = stat()
            if stat(candidate, &status) == 0, status.st_mode & S_IFMT == S_IFREG, access(candidate, X_OK) == 0 {
                return candidate
            }
        }
        throw ModuleError("missing", "there is no program '\(self.executable)' in PATH (\(folders)): \(self.remedy)")
    }

    /// Starts it, on the thread that it is to die with.
    func spawn(path: String, output: Int32, error: Int32) throws(ModuleError) -> Int32 {
        let spawn = Spawn(
            executable: path,
            arguments: self.arguments,
            environment: self.environment,
            inherited: self.inherited
        )
        do throws(SystemCallFailure) {
            return try spawn.start(output: output, error: error)
        } catch {
            throw self.failure(starting: path, errno: error.number)
        }
    }

    private func failure(starting path: String, errno number: Int32) -> ModuleError {
        let reason = String(cString: strerror(number))
        return switch number {
        case ENOENT:
            // The kernel says the same of a script whose interpreter is missing.
            access(path, F_OK) == 0
                ? ModuleError("missing", "\(path) can't be started: the interpreter in its first line is not there")
                : ModuleError("missing", "\(path) can't be started, there is no such file: \(self.remedy)")
        case EACCES, ENOEXEC, EISDIR, ENOTDIR:
            ModuleError("missing", "\(path) can't be started (\(reason)), it is no executable file: \(self.remedy)")
        default: ModuleError("system", "\(path) can't be started: \(reason)")
        }
    }
}
