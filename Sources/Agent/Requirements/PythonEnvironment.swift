import JSON
import NIOCore
import Spawning

/// What an interpreter says about the environment that it installs into.
struct PythonEnvironment: Equatable {
    /// As `platform.python_version` has it: `3.12.1`.
    var version: String
    /// Where its environment is: the folder of a virtual environment, or of the installation.
    var prefix: String
    /// Where a user's own packages go; `nil` in a virtual environment.
    var userSite: String?
    /// Where its packages go.
    var packages: String
    var hasPip: Bool

    private static let script = """
        import importlib.util, json, platform, site, sys, sysconfig
        assert sys.version_info >= (3, 10), "Python " + platform.python_version() + " is too old"
        in_venv = sys.prefix != sys.base_prefix
        print("\\n" + json.dumps({"version": platform.python_version(), "prefix": sys.prefix,
            "user_site": None if in_venv else site.getusersitepackages(), "packages": sysconfig.get_path("purelib"),
            "pip": importlib.util.find_spec("pip") is not None}))
        """

    /// Asks the interpreter, which takes a few hundredths of a second.
    static func of(
        python: String,
        environment: [String: String],
        on eventLoop: any EventLoop
    ) async throws -> PythonEnvironment {
        let child = ChildProcess(
            executable: python,
            arguments: ["-c", Self.script],
            environment: environment,
            eventLoop: eventLoop
        )
        var lines: [String] = []
        let exit: ProcessExit
        do {
            exit = try await child.run { lines.append($0) }
        } catch let error as CancellationError {
            throw error
        } catch {
            try Task.checkCancellation()
            throw RequirementsError.pythonFailed(python: python, reason: "can't be started", lines: ["\(error)"])
        }
        guard exit.isSuccess else {
            throw RequirementsError.pythonFailed(
                python: python,
                reason: "fails (\(exit.status))",
                lines: lines.suffix(5)
            )
        }
        guard let last = lines.last, let found = try? JSON(parsing: last), let version = found["version"]?.string,
            let prefix = found["prefix"]?.string, let packages = found["packages"]?.string,
            let hasPip = found["pip"]?.bool
        else {
            throw RequirementsError.pythonFailed(
                python: python,
                reason: "answers like no Python",
                lines: lines.suffix(5)
            )
        }
        return PythonEnvironment(
            version: version,
            prefix: prefix,
            userSite: found["user_site"]?.string,
            packages: packages,
            hasPip: hasPip
        )
    }

    /// Whether packages go into the environment itself, not into the user's own folder.
    var isWritable: Bool { FileSystem.isWritable(self.packages) }

    /// The file that tells what was installed, within the environment, so that it goes when the environment goes.
    var stampFile: String? {
        if self.isWritable { return self.packages + "/.armada-agent-requirements" }
        return self.userSite.map { $0 + "/.armada-agent-requirements" }
    }
}
