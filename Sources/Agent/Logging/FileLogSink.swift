import Glibc
import Synchronization

/// Appends each line whole to a file, and follows the file's name: when a log rotation has moved the file away, a new one is begun
/// (Python's `WatchedFileHandler`, which Celery logs with).
public final class FileLogSink: LogSink {
    private struct File {
        var descriptor: Int32
        var device: dev_t
        var inode: ino_t
    }

    private let path: String
    private let file: Mutex<File?>

    /// - Throws: the text of what is wrong with the path.
    public init(path: String) throws(LogFileError) {
        self.path = path
        guard let file = Self.open(path) else {
            throw LogFileError(path: path, reason: String(cString: strerror(errno)))
        }
        self.file = Mutex(file)
    }

    deinit { self.file.withLock { file in file.map { _ = close($0.descriptor) } } }

    public func write(line: String) {
        self.file.withLock { file in
            if let current = file, !Self.isCurrent(current, self.path) {
                close(current.descriptor)
                file = nil
            }
            if file == nil { file = Self.open(self.path) }
            // A file that can't be had is tried anew with the next line; this one must not be lost.
            DescriptorLogSink(descriptor: file?.descriptor ?? STDERR_FILENO).write(line: line)
        }
    }

    private static func open(_ path: String) -> File? {
        let descriptor = Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { return nil }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            close(descriptor)
            return nil
        }
        return File(descriptor: descriptor, device: status.st_dev, inode: status.st_ino)
    }

    private static func isCurrent(_ file: File, _ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_dev == file.device && status.st_ino == file.inode
    }
}

/// A log file that can't be written.
public struct LogFileError: StartupError {
    var path: String
    var reason: String

    public var exitStatus: ExitStatus { .configuration }
    public var message: String {
        "--logfile \(LogText.escaped(self.path, quotes: false)): found \(self.reason), expected a file that can be appended to"
    }
}
