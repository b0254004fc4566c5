import Glibc

/// Finds the interpreter, mitmproxy and the agent's own Python code.
public struct PythonLocator: Sendable {
    /// Nothing where it was looked for.
    public enum Failure: StartupError, Equatable {
        case noPython(found: String)
        case noRuntime(searched: String)
        case noMitmdump(found: String)

        public var exitStatus: ExitStatus { .configuration }

        public var message: String {
            switch self {
            case .noPython(let found):
                "AGENT_PYTHON: found \(found), expected the path of a Python interpreter, or its name on PATH"
            case .noRuntime(let searched):
                "the agent's Python code is missing: found neither Python/armada_agent above \(searched) nor "
                    + "share/armada-agent beside it, expected an installation as scripts/setup leaves it"
            case .noMitmdump(let found):
                "AGENT_PROXY_MITMDUMP: found \(found), expected the path of mitmproxy's mitmdump, or its name on PATH; "
                    + "scripts/setup installs it"
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
        switch self.program(configured, besidePackage: ".venv/bin/python", name: "python3") {
        case .found(let python): return python
        case .missing(let found): throw .noPython(found: found)
        }
    }

    /// mitmproxy's mitmdump: the one configured, else `.mitmproxy/bin/mitmdump` beside the package, else `mitmdump`.
    ///
    /// - Parameter configured: `AGENT_PROXY_MITMDUMP`, a path or a name on `PATH`.
    public func mitmdump(configured: String?) throws(Failure) -> String {
        switch self.program(configured, besidePackage: ".mitmproxy/bin/mitmdump", name: "mitmdump") {
        case .found(let mitmdump): return mitmdump
        case .missing(let found): throw .noMitmdump(found: found)
        }
    }

    private enum Search {
        case found(String)
        /// What was found in its place, in words.
        case missing(String)
    }

    private func program(_ configured: String?, besidePackage path: String, name: String) -> Search {
        if let configured {
            guard configured.utf8.contains(UInt8(ascii: "/")) else {
                return Self.onPath(configured, path: self.path).map { .found($0) }
                    ?? .missing(Redaction.quoted(configured) + ", which is not on PATH")
            }
            guard !FileSystem.isExecutable(configured) else { return .found(configured) }
            let what = FileSystem.exists(configured) ? "which is no executable file" : "which doesn't exist"
            return .missing(Redaction.quoted(configured) + ", " + what)
        }
        for folder in Self.ancestors(of: self.folder) + [self.installed]
        where FileSystem.isExecutable("\(folder)/\(path)") {
            return .found("\(folder)/\(path)")
        }
        return Self.onPath(name, path: self.path).map { .found($0) }
            ?? .missing("nothing, nor \(path) beside the package, nor \(name) on PATH")
    }

    /// The folder that holds the package `armada_agent`, to be put on Python's path.
    public func runtime() throws(Failure) -> String {
        for folder in Self.ancestors(of: self.folder)
        where FileSystem.exists(folder + "/Python/armada_agent/__init__.py") {
            return folder + "/Python"
        }
        if FileSystem.exists(self.installed + "/armada_agent/__init__.py") { return self.installed }
        throw .noRuntime(searched: self.folder)
    }

    /// Where an installation keeps what is not the program.
    private var installed: String { (Self.parent(of: self.folder) ?? "") + "/share/armada-agent" }

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
