import Glibc

/// Finds the interpreter and the agent's own Python code.
public struct PythonLocator: Sendable {
    /// Neither of them where it was looked for.
    public enum Failure: StartupError, Equatable {
        case noPython(found: String)
        case noRuntime(searched: String)

        public var exitStatus: ExitStatus { .configuration }

        public var message: String {
            switch self {
            case .noPython(let found):
                "AGENT_PYTHON: found \(found), expected the path of a Python interpreter, or its name on PATH"
            case .noRuntime(let searched):
                "the agent's Python code is missing: found neither Python/armada_agent above \(searched) nor "
                    + "share/armada-agent beside it, expected an installation as scripts/setup leaves it"
            }
        }
    }

    /// The folder of the running program; a relative path if it can't be told.
    private let folder: String
    private let path: String?

    /// - Parameters:
    ///   - executable: the program's own path, with links resolved.
    ///   - path: the value of `PATH`.
    public init(executable: String, path: String?) {
        self.folder = Self.parent(of: executable) ?? "."
        self.path = path
    }

    /// For the running program.
    public init(environment: [String: String]) {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = buffer.withUnsafeMutableBytes { bytes in
            bytes.withMemoryRebound(to: CChar.self) { characters in
                characters.baseAddress.map { readlink("/proc/self/exe", $0, characters.count) } ?? -1
            }
        }
        let executable = count > 0 ? String(decoding: buffer.prefix(count), as: UTF8.self) : "."
        self.init(executable: executable, path: environment["PATH"])
    }

    /// The interpreter: the one configured, else `.venv/bin/python` beside the package, else `python3`.
    ///
    /// - Parameter configured: `AGENT_PYTHON`, a path or a name on `PATH`.
    /// - Returns: its path; links are not resolved, since by its own path an interpreter knows its virtual environment.
    public func python(configured: String?) throws(Failure) -> String {
        if let configured {
            if configured.utf8.contains(UInt8(ascii: "/")) {
                guard FileSystem.isExecutable(configured) else {
                    let what = FileSystem.exists(configured) ? "which is no executable file" : "which doesn't exist"
                    throw .noPython(found: Redaction.quoted(configured) + ", " + what)
                }
                return configured
            }
            guard let found = Self.onPath(configured, path: self.path) else {
                throw .noPython(found: Redaction.quoted(configured) + ", which is not on PATH")
            }
            return found
        }
        for folder in Self.ancestors(of: self.folder) where FileSystem.isExecutable(folder + "/.venv/bin/python") {
            return folder + "/.venv/bin/python"
        }
        guard let found = Self.onPath("python3", path: self.path) else {
            throw .noPython(found: "nothing, nor .venv/bin/python beside the package, nor python3 on PATH")
        }
        return found
    }

    /// The folder that holds the package `armada_agent`, to be put on Python's path.
    public func runtime() throws(Failure) -> String {
        for folder in Self.ancestors(of: self.folder)
        where FileSystem.exists(folder + "/Python/armada_agent/__init__.py") {
            return folder + "/Python"
        }
        let installed = (Self.parent(of: self.folder) ?? "") + "/share/armada-agent"
        if FileSystem.exists(installed + "/armada_agent/__init__.py") { return installed }
        throw .noRuntime(searched: self.folder)
    }

    /// The first executable of this name in the folders of `path`; relative folders are left out.
    static func onPath(_ name: String, path: String?) -> String? {
        for folder in (path ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":") where folder.hasPrefix("/") {
            let candidate = folder + "/" + name
            if FileSystem.isExecutable(String(candidate)) { return String(candidate) }
        }
        return nil
    }

    /// The folder and all above it, nearest first; `""` for the root.
    private static func ancestors(of folder: String) -> [String] {
        var result = [folder == "/" ? "" : folder]
        while let next = result.last.flatMap(Self.parent) { result.append(next) }
        return result
    }

    private static func parent(of path: String) -> String? {
        path.lastIndex(of: "/").map { String(path[..<$0]) }
    }
}
