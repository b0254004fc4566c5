import AgentModules
import Glibc
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Spawning
import Testing

@Suite("Processes", .timeLimit(.minutes(1)))
struct ProcessTests {
    private let eventLoop = MultiThreadedEventLoopGroup.singleton.next()

    /// What a process has written, for waiting until it has got somewhere.
    private final class Lines: Sendable {
        let seen: AsyncStream<String>
        private let continuation: AsyncStream<String>.Continuation

        init() { (self.seen, self.continuation) = AsyncStream.makeStream() }

        func add(_ line: String) { self.continuation.yield(line) }

        func next() async -> String? {
            for await line in self.seen { return line }
            return nil
        }
    }

    private func shell(
        _ script: String,
        _ output: ProcessCommand.Output = .lines { _ in },
        inherited: [Int32] = [],
        grace: Duration = .seconds(30)
    ) -> ProcessCommand {
        ProcessCommand(
            executable: "sh",
            arguments: ["-c", script],
            environment: ["PATH": "/usr/bin:/bin", "NAME": "ein Wert"],
            inherited: inherited,
            standardOutput: output,
            grace: grace,
            remedy: "install Debian's package dash"
        )
    }

    private func isAlive(_ pid: Int32) -> Bool { kill(pid, 0) == 0 }

    @Test("an exit status and the last lines of both streams", arguments: [0, 1, 77, 255])
    func status(_ code: Int32) async throws {
        let (lines, exit) = try await ManagedProcess.run(
            self.shell("echo first; echo \"$NAME\" >&2; exit \(code)"),
            on: self.eventLoop
        ) { process in
            let exit = try await process.exit()
            #expect(exit == .code(code))
            return process.lastLines
        }
        #expect(exit == .code(code))
        #expect(lines.sorted() == ["ein Wert", "first"])
    }

    @Test("the signal that ended a process")
    func signal() async throws {
        let (_, exit) = try await ManagedProcess.run(self.shell("kill -SEGV $$"), on: self.eventLoop) {
            try await $0.exit()
        }
        #expect(exit == .signal(SIGSEGV))
    }

    @Test("a signal is sent to a process, and to nobody once it has ended")
    func send() async throws {
        let (_, exit) = try await ManagedProcess.run(self.shell("exec sleep 600"), on: self.eventLoop) { process in
            process.signal(SIGUSR1)
            let exit = try await process.exit()
            process.signal(SIGUSR1)
            return exit
        }
        #expect(exit == .signal(SIGUSR1))
    }

    @Test("lines come whole, those that are too long in pieces, and only the last ones are kept")
    func lines() async throws {
        let lines = NIOLockedValueBox<[String]>([])
        let script = "seq 100; head -c 10000 /dev/zero | tr '\\0' x; printf '\\nunfinished'"
        let (last, _) = try await ManagedProcess.run(
            self.shell(script, .lines { line in lines.withLockedValue { $0.append(line) } }),
            on: self.eventLoop
        ) { process in
            _ = try await process.exit()
            return process.lastLines
        }
        let numbers = (1...100).map(String.init)
        let long = [String(repeating: "x", count: 8192), String(repeating: "x", count: 10000 - 8192), "unfinished"]
        #expect(lines.withLockedValue { $0 } == numbers + long)
        #expect(last == numbers.suffix(17) + long)
    }

    @Test("bytes come as they are, all of them before the end is told")
    func bytes() async throws {
        let bytes = NIOLockedValueBox(ByteBuffer())
        let script = "head -c 300000 /dev/zero; printf '\\001\\r\\n'"
        let (count, _) = try await ManagedProcess.run(
            self.shell(script, .bytes { part in bytes.withLockedValue { _ = $0.writeImmutableBuffer(part) } }),
            on: self.eventLoop
        ) { process in
            _ = try await process.exit()
            return bytes.withLockedValue { $0.readableBytes }
        }
        #expect(count == 300_003)
        #expect(bytes.withLockedValue { Array($0.readableBytesView.suffix(4)) } == [0, 1, 13, 10])
    }

    @Test("descriptors are inherited as 3, 4, …, and a stream may be a descriptor of the caller's")
    func descriptors() async throws {
        let first = try Descriptor.pipe()
        let second = try Descriptor.pipe()
        let output = try Descriptor.pipe()
        let (_, exit) = try await ManagedProcess.run(
            self.shell(
                "echo three >&3; echo four >&4; echo out",
                .descriptor(output.writing.number),
                inherited: [first.writing.number, second.writing.number]
            ),
            on: self.eventLoop
        ) { try await $0.exit() }
        #expect(exit == .code(0))
        for (pipe, expected) in [(first, "three\n"), (second, "four\n"), (output, "out\n")] {
            var bytes = [UInt8](repeating: 0, count: 100)
            let count = read(pipe.reading.number, &bytes, bytes.count)
            #expect(String(decoding: bytes.prefix(max(0, count)), as: UTF8.self) == expected)
        }
    }

    @Test("no other descriptor is inherited, also none that swift-nio leaves open for that")
    func otherDescriptors() async throws {
        // As `socket(2)` gives them: not close-on-exec.
        let open = Descriptor(fcntl(STDIN_FILENO, F_DUPFD, 200))
        try #require(open.number >= 200)
        let (_, exit) = try await ManagedProcess.run(
            self.shell("test -e /proc/self/fd/\(open.number)"),
            on: self.eventLoop
        ) { try await $0.exit() }
        #expect(exit == .code(1))
    }

    @Test("the end of the scope ends a process, and how it did is told")
    func scope() async throws {
        let (pid, exit) = try await ManagedProcess.run(self.shell("exec sleep 600"), on: self.eventLoop) { $0.pid }
        #expect(exit == .signal(SIGTERM))
        #expect(!self.isAlive(pid))
    }

    @Test("an error in the scope ends the process and is thrown")
    func error() async throws {
        struct Failure: Error {}
        let pid = NIOLockedValueBox<Int32>(0)
        await #expect(throws: Failure.self) {
            try await ManagedProcess.run(self.shell("exec sleep 600"), on: self.eventLoop) { process in
                pid.withLockedValue { $0 = process.pid }
                throw Failure()
            }
        }
        #expect(!self.isAlive(pid.withLockedValue { $0 }))
    }

    @Test("a process that ignores SIGTERM is killed after its grace")
    func stubborn() async throws {
        let lines = Lines()
        let (_, exit) = try await ManagedProcess.run(
            self.shell(
                "trap '' TERM; echo ready; while :; do sleep 1; done",
                .lines { lines.add($0) },
                grace: .milliseconds(50)
            ),
            on: self.eventLoop
        ) { _ in #expect(await lines.next() == "ready") }
        #expect(exit == .signal(SIGKILL))
    }

    @Test("cancellation ends a process, also one whose scope does not listen to it")
    func cancellation() async throws {
        for listens in [true, false] {
            let lines = Lines()
            let command = self.shell("echo $$; exec sleep 600", .lines { lines.add($0) })
            let task = Task {
                try await ManagedProcess.run(command, on: self.eventLoop) { process in
                    if listens { return try await process.exit() }
                    // Is not cancelled with the task.
                    return try await Task { try await process.exit() }.value
                }
            }
            let pid = try #require(Int32(await lines.next() ?? ""))
            task.cancel()
            let result = await task.result
            if listens {
                #expect(throws: CancellationError.self) { try result.get() }
            } else {
                #expect(try result.get().exit == .signal(SIGTERM))
            }
            #expect(!self.isAlive(pid))
        }
    }

    @Test("what a process has left in its group ends with it", arguments: [true, false])
    func group(_ endsByItself: Bool) async throws {
        let lines = Lines()
        let script = "trap '' TERM; sleep 600 & echo $!; \(endsByItself ? "exit 3" : "wait")"
        let (pid, exit) = try await ManagedProcess.run(
            self.shell(script, .lines { lines.add($0) }, grace: .milliseconds(50)),
            on: self.eventLoop
        ) { process in
            let pid = try #require(Int32(await lines.next() ?? ""))
            if endsByItself { _ = try await process.exit() }
            return pid
        }
        #expect(exit == (endsByItself ? .code(3) : .signal(SIGKILL)))
        // Killed with its group, and then reaped by init.
        try await ProcessWatch(eventLoop: self.eventLoop).end(of: pid)
    }

    @Test("output that a process of another session holds open does not delay the end for ever")
    func heldOutput() async throws {
        let lines = Lines()
        let (pid, exit) = try await ManagedProcess.run(
            self.shell("setsid sh -c 'echo $$; exec sleep 600' & wait", .lines { lines.add($0) }),
            on: self.eventLoop
        ) { _ in try #require(Int32(await lines.next() ?? "")) }
        #expect(exit == .signal(SIGTERM))
        #expect(self.isAlive(pid))
        kill(pid, SIGKILL)
    }

    @Test(
        "a program that can't be started",
        arguments: [
            ("no-such-program", "there is no program 'no-such-program' in PATH (/usr/bin:/bin): buy one"),
            ("/no/such/program", "/no/such/program can't be started, there is no such file: buy one"),
            (
                "/etc/passwd", "/etc/passwd can't be started (Permission denied), it is no executable file: buy one"
            ),
            ("/etc", "/etc can't be started (Permission denied), it is no executable file: buy one"),
        ]
    )
    func missing(_ executable: String, _ message: String) async throws {
        let command = ProcessCommand(
            executable: executable,
            environment: ["PATH": "/usr/bin:/bin"],
            remedy: "buy one"
        )
        await #expect(throws: ModuleError("missing", message)) {
            try await ManagedProcess.run(command, on: self.eventLoop) { _ in }
        }
    }

    @Test("the end of a process is seen, whether it is to come or has been")
    func watch() async throws {
        let watch = ProcessWatch(eventLoop: self.eventLoop)
        let (pid, _) = try await ManagedProcess.run(self.shell("exec sleep 600"), on: self.eventLoop) { process in
            async let end: Void = watch.end(of: process.pid)
            process.signal(SIGKILL)
            try await end
            return process.pid
        }
        try await watch.end(of: pid)
    }

    @Test("a watch is given up by cancellation")
    func watchCancelled() async throws {
        let watch = ProcessWatch(eventLoop: self.eventLoop)
        let task = Task { try await watch.end(of: getpid()) }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }
}
