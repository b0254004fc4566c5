/// Why the requirements are not installed.
public enum RequirementsError: StartupError, Equatable {
    /// `REQUIREMENTS_TXT` is not what it should be.
    case notReadable(found: String)
    /// Neither `uv` nor `pip` is there for the interpreter named.
    case noInstaller(python: String)
    /// The interpreter can't be asked about its environment.
    case pythonFailed(python: String, reason: String, lines: [String])
    /// The installer failed: how it ended, and the last lines it wrote.
    case failed(tool: String, how: String, lines: [String])
    /// The temporary file can't be written.
    case fileSystem(reason: String)

    /// An installer that fails is the user's requirements failing to load, as code that can't be imported: 70. That
    /// an index was out of reach can't be told from other failures by an exit status, and its lines say so.
    public var exitStatus: ExitStatus {
        switch self {
        case .notReadable, .noInstaller, .pythonFailed: .configuration
        case .failed, .fileSystem: .software
        }
    }

    public var message: String {
        switch self {
        case .notReadable(let found):
            "REQUIREMENTS_TXT: found \(found), expected a requirements.txt in base64"
        case .noInstaller(let python):
            "REQUIREMENTS_TXT: found neither uv, on PATH or beside \(python), nor its module pip, expected one of them"
        case .pythonFailed(let python, let reason, _):
            "AGENT_PYTHON: found \(python), which \(reason), expected Python 3.10 or later"
        case .failed(let tool, let how, _):
            "the requirements can't be installed: \(tool) \(how)"
        case .fileSystem(let reason):
            "the requirements can't be installed: \(reason)"
        }
    }

    public var details: [String] {
        switch self {
        case .pythonFailed(_, _, let lines), .failed(_, _, let lines): lines
        case .notReadable, .noInstaller, .fileSystem: []
        }
    }
}
