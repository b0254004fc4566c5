import Glibc
import Logging
import NIOPosix
import Synchronization

@testable import Agent

/// The folder of Package.swift.
let packageFolder = String(#filePath.split(separator: "/Tests/AgentTests").first ?? ".")

/// Keeps log lines for a test to look at.
final class RecordingSink: LogSink {
    private let kept = Mutex<[String]>([])

    var lines: [String] { self.kept.withLock { $0 } }

    func write(line: String) { self.kept.withLock { $0.append(line) } }

    func logger(level: Logger.Level = .trace) -> Logger {
        Logger(label: "test") { AgentLogHandler(label: $0, level: level, sink: self) }
    }
}

/// A clock on which every sleep ends at once, and time has then passed.
final class ImmediateClock: Clock {
    struct Instant: InstantProtocol {
        var offset: Duration
        func advanced(by duration: Duration) -> Instant { Instant(offset: self.offset + duration) }
        func duration(to other: Instant) -> Duration { other.offset - self.offset }
        static func < (left: Instant, right: Instant) -> Bool { left.offset < right.offset }
    }

    private let time = Mutex(Instant(offset: .zero))

    var now: Instant { self.time.withLock { $0 } }
    var minimumResolution: Duration { .nanoseconds(1) }

    func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        try Task.checkCancellation()
        self.time.withLock { $0 = max($0, deadline) }
    }
}

/// A problem of a test's own surroundings.
struct SetupFailure: Error {
    var what: String
}

/// Runs a program to its end; throws with its output if it fails.
@discardableResult
func runTool(_ executable: String, _ arguments: [String], environment: [String: String] = currentEnvironment)
    async throws
    -> [String]
{
    guard let path = executable.contains("/") ? executable : PythonLocator.onPath(executable, path: environment["PATH"])
    else {
        throw SetupFailure(what: "\(executable) is not on PATH")
    }
    var lines: [String] = []
    let child = ChildProcess(
        executable: path,
        arguments: arguments,
        environment: environment,
        eventLoop: MultiThreadedEventLoopGroup.singleton.next()
    )
    let exit = try await child.run { lines.append($0) }
    guard exit.isSuccess else { throw SetupFailure(what: "\(executable): \(exit.status): \(lines)") }
    return lines
}

var currentEnvironment: [String: String] {
    var result: [String: String] = [:]
    for name in ["PATH", "HOME", "LANG", "PYENV_ROOT", "PYENV_VERSION"] {
        if let value = getenv(name) { result[name] = String(cString: value) }
    }
    return result
}

/// Runs `body` with a new folder, and removes it.
func withTemporaryFolder<Result>(_ body: (String) async throws -> Result) async throws -> Result {
    let folder = try FileSystem.makePrivateFolder(environment: [:])
    do {
        let result = try await body(folder)
        try await runTool("rm", ["-rf", folder])
        return result
    } catch {
        try await runTool("rm", ["-rf", folder])
        throw error
    }
}

/// A TCP port of loopback that was free a moment ago.
func freePort() throws -> Int {
    try withListener { $0 }
}

/// Runs `body` with the port of a socket that takes connections and never says anything.
func withListener<Result>(_ body: (Int) throws -> Result) throws -> Result {
    let (descriptor, port) = try listener()
    defer { close(descriptor) }
    return try body(port)
}

/// A socket, to be closed by the caller, and its port.
/// - Parameter listens: else whoever connects is refused, and nobody else can have the port.
func listener(listens: Bool = true) throws -> (descriptor: Int32, port: Int) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
            bind(descriptor, generic, length) == 0 && (!listens || listen(descriptor, 16) == 0)
                && getsockname(descriptor, generic, &length) == 0
        }
    }
    guard isBound else { throw SetupFailure(what: "no port: errno \(errno)") }
    return (descriptor, Int(UInt16(bigEndian: address.sin_port)))
}

/// Whether a process runs; one that has ended and awaits its parent's notice does not.
func isRunning(_ process: Int32) -> Bool {
    guard let status = FileSystem.read("/proc/\(process)/stat", limit: 4096) else { return false }
    let afterName = String(decoding: status, as: UTF8.self).split(separator: ") ").last
    return afterName?.first != "Z" && afterName?.first != "X"
}

/// Waits until `condition` holds, for at most 20 s.
func eventually(_ condition: () async throws -> Bool) async throws -> Bool {
    for _ in 0..<1000 {
        if try await condition() { return true }
        try await Task.sleep(for: .milliseconds(20))
    }
    return false
}
