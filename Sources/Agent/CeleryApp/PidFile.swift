import Glibc

/// The file that tells which process the worker is (`celery/platforms.py`, `Pidfile`): it exists while the worker runs.
struct PidFile: Sendable {
    /// Why there can't be one.
    struct Failure: StartupError {
        var message: String
        var exitStatus: ExitStatus { .configuration }
    }

    let path: String

    /// Makes the file. One of a worker that is gone, or that holds no process id, is replaced.
    init(_ path: String) throws(Failure) {
        self.path = path
        if let failure = self.create() {
            guard failure == EEXIST else { throw self.failure(String(cString: strerror(failure))) }
            guard self.isStale else {
                throw self.failure("the process \(self.recorded ?? 0), which runs", "no worker with this file yet")
            }
            unlink(path)
            if let failure = self.create() { throw self.failure(String(cString: strerror(failure))) }
        }
    }

    /// Removes the file, unless another process has made it its own meanwhile.
    func remove() {
        if self.recorded == getpid() { unlink(self.path) }
    }

    /// The error number, if the file can't be made anew.
    private func create() -> Int32? {
        let descriptor = open(self.path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { return errno }
        defer { close(descriptor) }
        let text = Array("\(getpid())\n".utf8)
        let written = text.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard written == text.count else {
            let number = written < 0 ? errno : ENOSPC
            unlink(self.path)
            return number
        }
        return nil
    }

    private var recorded: pid_t? {
        FileSystem.contents(of: self.path).flatMap { $0.hasSuffix("\n") ? pid_t($0.trimmed) : nil }
    }

    private var isStale: Bool {
        // A container's worker may have had the same number in its former life.
        guard let process = self.recorded, process > 0, process != getpid() else { return true }
        // A process of another user's is none of ours: Celery takes the file for stale, too.
        return kill(process, 0) != 0
    }

    private func failure(_ found: String, _ expected: String = "a file that can be created") -> Failure {
        Failure(message: "--pidfile \(LogText.escaped(self.path, quotes: false)): found \(found), expected \(expected)")
    }
}
