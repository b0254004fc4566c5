import Glibc
import Testing

@testable import Agent

@Suite("Files of a worker's process")
struct ProcessFilesTests {
    private let folder: String

    init() throws { self.folder = try FileSystem.makePrivateFolder(environment: [:]) }

    @Test("a process file holds the process id, and goes with it")
    func pidFile() throws {
        let path = self.folder + "/pid"
        defer { FileSystem.removeFolder(self.folder, files: ["pid"]) }
        let file = try PidFile(path)
        #expect(FileSystem.contents(of: path) == "\(getpid())\n")
        file.remove()
        #expect(!FileSystem.exists(path))
    }

    @Test(
        "one that no running process owns is replaced",
        // The largest process id that Linux gives is 4194304.
        arguments: ["4194305\n", "not a number\n", "12", "", "-1\n", "0\n"]
    )
    func stale(_ contents: String) throws {
        let path = self.folder + "/pid"
        defer { FileSystem.removeFolder(self.folder, files: ["pid"]) }
        try FileSystem.write(Array(contents.utf8), to: path)
        _ = try PidFile(path)
        #expect(FileSystem.contents(of: path) == "\(getpid())\n")
    }

    @Test("one of a process that runs is respected")
    func running() throws {
        let path = self.folder + "/pid"
        defer { FileSystem.removeFolder(self.folder, files: ["pid"]) }
        try FileSystem.write(Array("\(getppid())\n".utf8), to: path)
        let failure = #expect(throws: PidFile.Failure.self) { try PidFile(path) }
        #expect(failure?.message.contains("\(getppid())") == true)
        #expect(FileSystem.contents(of: path) == "\(getppid())\n")
    }

    @Test("one that another process has taken over is left alone")
    func takenOver() throws {
        let path = self.folder + "/pid"
        defer { FileSystem.removeFolder(self.folder, files: ["pid"]) }
        let file = try PidFile(path)
        try FileSystem.write(Array("1\n".utf8), to: path)
        file.remove()
        #expect(FileSystem.contents(of: path) == "1\n")
    }

    @Test("a folder that is not there is told of")
    func noFolder() {
        defer { FileSystem.removeFolder(self.folder, files: []) }
        let failure = #expect(throws: PidFile.Failure.self) { try PidFile(self.folder + "/none/pid") }
        #expect(failure?.exitStatus == .configuration)
    }

    @Test("a log file is appended to, and begun anew after a rotation")
    func logFile() throws {
        let path = self.folder + "/log"
        defer { FileSystem.removeFolder(self.folder, files: ["log", "log.1"]) }
        try FileSystem.write(Array("old\n".utf8), to: path)
        let sink = try FileLogSink(path: path)
        sink.write(line: "one\n")
        #expect(FileSystem.contents(of: path) == "old\none\n")
        rename(path, path + ".1")
        sink.write(line: "two\n")
        #expect(FileSystem.contents(of: path) == "two\n")
        #expect(FileSystem.contents(of: path + ".1") == "old\none\n")
    }

    @Test("a log file that can't be written is told of")
    func unwritableLogFile() {
        defer { FileSystem.removeFolder(self.folder, files: []) }
        let failure = #expect(throws: LogFileError.self) { try FileLogSink(path: self.folder) }
        #expect(failure?.message.contains("--logfile") == true)
    }

    @Test("to stay who one is takes no right; a user that isn't there is told of")
    func privileges() throws {
        try Privileges.drop(user: nil, group: nil)
        try Privileges.drop(user: "\(geteuid())", group: "\(getegid())")
        #expect(throws: Privileges.Failure.self) { try Privileges.drop(user: "no-such-user-here", group: nil) }
        #expect(throws: Privileges.Failure.self) { try Privileges.drop(user: nil, group: "no-such-group-here") }
    }
}
