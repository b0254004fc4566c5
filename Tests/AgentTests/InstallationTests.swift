import Glibc
import NIOPosix
import Spawning
import Testing

@testable import Agent

/// A package index of files, with one package in it.
private struct Wheels {
    var folder: String

    static func make(in folder: String) async throws -> Wheels {
        let script = """
            import os, sys, zipfile
            folder = sys.argv[1]
            os.mkdir(folder)
            info = "armada_probe-1.0.dist-info/"
            with zipfile.ZipFile(folder + "/armada_probe-1.0-py3-none-any.whl", "w") as wheel:
                wheel.writestr("armada_probe.py", "answer = 42\\n")
                wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: armada-probe\\nVersion: 1.0\\n")
                wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
                wheel.writestr(info + "RECORD", "armada_probe.py,,\\n%sMETADATA,,\\n%sWHEEL,,\\n%sRECORD,,\\n" % (info, info, info))
            """
        let wheels = Wheels(folder: folder + "/wheels")
        try await runTool("python3", ["-c", script, wheels.folder])
        return wheels
    }

    /// `REQUIREMENTS_TXT` that asks for `what` from this index alone.
    func asking(_ what: String) async throws -> String {
        let script = "import base64, sys; print(base64.b64encode(sys.argv[1].encode()).decode())"
        let text = "--no-index\n--find-links \(self.folder)\n\(what)\n"
        return try await runTool("python3", ["-c", script, text]).joined()
    }
}

/// Where `uv` is, on `PATH` or in the package's own virtual environment.
private let uv: String? = {
    let path = (currentEnvironment["PATH"] ?? "") + ":" + packageFolder + "/.venv/bin"
    return PythonLocator.onPath("uv", path: path)
}()

@Suite("Installing requirements", .timeLimit(.minutes(5)))
struct InstallationTests {
    /// `PATH` without any `uv`.
    private static let plainEnvironment = ["PATH": "/usr/bin:/bin", "HOME": "/nonexistent"]

    private static func install(
        _ base64: String,
        python: String,
        environment: [String: String] = plainEnvironment,
        sink: RecordingSink = RecordingSink()
    ) async throws -> RequirementsInstaller.Outcome {
        try await RequirementsInstaller(
            python: python,
            environment: environment,
            on: MultiThreadedEventLoopGroup.singleton.next(),
            logger: sink.logger()
        ).install(base64: base64)
    }

    private static func check(tool: String, python: String, folder: String) async throws {
        let wheels = try await Wheels.make(in: folder)
        let requirements = try await wheels.asking("armada-probe==1.0")
        let sink = RecordingSink()
        #expect(try await Self.install(requirements, python: python, sink: sink) == .installed(tool: tool))
        #expect(sink.lines.contains { $0.contains("armada-probe") && $0.contains("tool=\(tool)") })
        #expect(try await runTool(python, ["-c", "import armada_probe; print(armada_probe.answer)"]) == ["42"])
        #expect(try await Self.install(requirements, python: python) == .unchanged)
        // Other requirements are installed, though these are there already.
        let changed = try await wheels.asking("armada-probe>=1.0")
        #expect(try await Self.install(changed, python: python) == .installed(tool: tool))
        // A failure leaves no stamp of its own.
        let broken = try await wheels.asking("armada-probe==2.0")
        for _ in 0..<2 {
            let error = await #expect(throws: RequirementsError.self) { try await Self.install(broken, python: python) }
            #expect(error?.exitStatus == .software)
            #expect(error?.message.contains("\(tool) failed (exit status 1)") == true)
            #expect(error?.details.joined(separator: " ").contains("armada-probe==2.0") == true)
        }
        #expect(try await Self.install(try await wheels.asking("# none"), python: python) == .installed(tool: tool))
    }

    @Test("with pip")
    func pip() async throws {
        try await withTemporaryFolder { folder in
            try await runTool("python3", ["-m", "venv", folder + "/venv"])
            try await Self.check(tool: "pip", python: folder + "/venv/bin/python", folder: folder)
        }
    }

    @Test("with uv beside the interpreter", .enabled(if: uv != nil, "uv is not installed"))
    func withUV() async throws {
        let uv = try #require(uv)
        try await withTemporaryFolder { folder in
            try await runTool("python3", ["-m", "venv", "--without-pip", folder + "/venv"])
            try await runTool("ln", ["-s", uv, folder + "/venv/bin/uv"])
            try await Self.check(tool: "uv", python: folder + "/venv/bin/python", folder: folder)
        }
    }

    @Test("no installer at all, no interpreter, nothing asked")
    func noInstaller() async throws {
        try await withTemporaryFolder { folder in
            try await runTool("python3", ["-m", "venv", "--without-pip", folder + "/venv"])
            let python = folder + "/venv/bin/python"
            let wheels = try await Wheels.make(in: folder)
            let asked = try await wheels.asking("armada-probe")
            await #expect(throws: RequirementsError.noInstaller(python: python)) {
                try await Self.install(asked, python: python)
            }
            let error = await #expect(throws: RequirementsError.self) {
                try await Self.install(asked, python: folder + "/none")
            }
            #expect(error?.exitStatus == .configuration)
            #expect(try await Self.install("IyBvbmx5IGEgY29tbWVudAo=", python: folder + "/none") == .nothingAsked)
        }
    }

    @Test("two agents that share an environment install one after the other, and the second finds it done")
    func together() async throws {
        try await withTemporaryFolder { folder in
            try await runTool("python3", ["-m", "venv", "--without-pip", folder + "/venv"])
            // An installer that fails if it's not alone.
            let fake = "#!/bin/sh\nmkdir \"$0.busy\" || exit 9\nsleep 1\nrmdir \"$0.busy\"\n"
            try FileSystem.write(Array(fake.utf8), to: folder + "/venv/bin/uv")
            try await runTool("chmod", ["+x", folder + "/venv/bin/uv"])
            let python = folder + "/venv/bin/python"
            async let first = Self.install("c2l4", python: python)
            async let second = Self.install("c2l4", python: python)
            let outcomes = try await [first, second]
            #expect(outcomes.count { $0 == .installed(tool: "uv") } == 1)
            #expect(outcomes.count { $0 == .unchanged } == 1)
            async let third = Self.install("c2l4", python: python)
            async let fourth = Self.install("c2l4Cg==", python: python)
            #expect(try await [third, fourth].contains(.installed(tool: "uv")))
        }
    }

    @Test("neither secrets in requirements nor the agent's own reach the log or the installer")
    func secrets() async throws {
        try await withTemporaryFolder { folder in
            try await runTool("python3", ["-m", "venv", "--without-pip", folder + "/venv"])
            // An installer that tells all it knows, and fails.
            let fake = "#!/bin/sh\ncat \"$9\"; echo \"pw=hunter2 tok=t0ken\"; env; exit 3\n"
            try FileSystem.write(Array(fake.utf8), to: folder + "/venv/bin/uv")
            try await runTool("chmod", ["+x", folder + "/venv/bin/uv"])
            let wheels = try await Wheels.make(in: folder)
            let asked = try await wheels.asking("--index-url https://u:hunter2@h/\n--extra-index-url https://${TOK}@h/")
            let sink = RecordingSink()
            let environment = Self.plainEnvironment.merging([
                "TOK": "t0ken", "AGENT_REDIS_PASSWORD": "redispw", "RABBITMQ_URL": "amqp://u:rabbitpw@h",
                "SQL_SERVER_PASSWORD": "sqlpw",
            ]) { $1 }
            let error = await #expect(throws: RequirementsError.self) {
                try await Self.install(asked, python: folder + "/venv/bin/python", environment: environment, sink: sink)
            }
            let all = sink.lines.joined() + (error?.description ?? "")
            #expect(all.contains("pw=*** tok=***"))
            #expect(all.contains("exit status 3"))
            for secret in ["hunter2", "t0ken", "redispw", "rabbitpw", "sqlpw"] { #expect(!all.contains(secret)) }
        }
    }

    @Test("lines of both streams, without empty ones, and with what a progress bar writes over")
    func lines() async throws {
        let child = ChildProcess(
            executable: "/bin/sh",
            arguments: ["-c", "printf 'one\\r\\ntwo\\n\\n\\rthree\\rlast'; echo error >&2; exit 3"],
            environment: Self.plainEnvironment,
            eventLoop: MultiThreadedEventLoopGroup.singleton.next()
        )
        var lines: [String] = []
        let exit = try await child.run { lines.append($0) }
        #expect(exit == .code(3))
        #expect(lines.filter { $0 != "error" } == ["one", "two", "three", "last"])
        #expect(lines.contains("error"))
    }

    @Test("cancellation ends the installer and all that it started")
    func cancellation() async throws {
        let (started, continuation) = AsyncStream.makeStream(of: Int32.self)
        let child = ChildProcess(
            executable: "/bin/sh",
            arguments: ["-c", "sleep 1000 & echo $!; echo $$; wait"],
            environment: Self.plainEnvironment,
            eventLoop: MultiThreadedEventLoopGroup.singleton.next()
        )
        let running = Task {
            try await child.run { line in
                if let process = Int32(line) { continuation.yield(process) }
            }
        }
        var processes: [Int32] = []
        for await process in started {
            processes.append(process)
            if processes.count == 2 { break }
        }
        try #require(processes.count == 2)
        #expect(processes.allSatisfy(isRunning))
        // In a session of its own: our group's signals don't reach it.
        #expect(getsid(processes[1]) == processes[1])
        running.cancel()
        await #expect(throws: CancellationError.self) { try await running.value }
        #expect(try await eventually { !processes.contains(where: isRunning) })
    }
}

@Suite("Finding Python")
struct PythonLocatorTests {
    private static func touch(_ file: String) async throws {
        try await runTool(
            "sh",
            ["-c", "mkdir -p \"$(dirname \"$0\")\" && echo '#!/bin/sh' > \"$0\" && chmod +x \"$0\"", file]
        )
    }

    @Test("the configured one, the package's, the one on PATH")
    func python() async throws {
        try await withTemporaryFolder { folder in
            let locator = PythonLocator(executable: folder + "/a/.build/release/agent", path: folder + "/bin:relative")
            #expect(throws: PythonLocator.Failure.self) { try locator.python(configured: nil) }
            try await Self.touch(folder + "/bin/python3")
            #expect(try locator.python(configured: nil) == folder + "/bin/python3")
            #expect(try locator.python(configured: "python3") == folder + "/bin/python3")
            try await Self.touch(folder + "/a/.venv/bin/python")
            #expect(try locator.python(configured: nil) == folder + "/a/.venv/bin/python")
            #expect(try locator.python(configured: folder + "/bin/python3") == folder + "/bin/python3")
            for (wrong, part) in [
                (folder, "no executable file"), (folder + "/none", "doesn't exist"), ("none", "not on PATH"),
            ] {
                let error = #expect(throws: PythonLocator.Failure.self) { try locator.python(configured: wrong) }
                #expect(error?.exitStatus == .configuration)
                #expect(error?.message.contains(part) == true)
            }
        }
    }

    @Test("mitmdump: the configured one, the package's or the installation's, the one on PATH")
    func mitmdump() async throws {
        try await withTemporaryFolder { folder in
            let locator = PythonLocator(executable: folder + "/usr/bin/agent", path: folder + "/bin")
            let error = #expect(throws: PythonLocator.Failure.self) { try locator.mitmdump(configured: nil) }
            #expect(error?.message.contains("AGENT_PROXY_MITMDUMP: found nothing") == true)
            for place in [
                "/bin/mitmdump", "/usr/share/armada-agent/.mitmproxy/bin/mitmdump", "/usr/.mitmproxy/bin/mitmdump",
            ] {
                try await Self.touch(folder + place)
                #expect(try locator.mitmdump(configured: nil) == folder + place)
            }
            #expect(try locator.mitmdump(configured: "mitmdump") == folder + "/bin/mitmdump")
        }
    }

    @Test("the runtime above the program, or installed beside it")
    func runtime() async throws {
        try await withTemporaryFolder { folder in
            let locator = PythonLocator(executable: folder + "/usr/bin/agent", path: nil)
            #expect(throws: PythonLocator.Failure.noRuntime(searched: folder + "/usr/bin")) { try locator.runtime() }
            try await Self.touch(folder + "/usr/share/armada-agent/armada_agent/__init__.py")
            #expect(try locator.runtime() == folder + "/usr/share/armada-agent")
            try await Self.touch(folder + "/Python/armada_agent/__init__.py")
            #expect(try locator.runtime() == folder + "/Python")
        }
    }

    @Test("the running program has a place")
    func own() throws {
        #expect(try PythonLocator(environment: ["PATH": "/usr/bin:/bin"]).python(configured: "sh").hasSuffix("/sh"))
    }
}
