import Glibc
import Synchronization

/// Where whole log lines go.
public protocol LogSink: Sendable {
    /// Takes one line, with its line feed. Called from any thread.
    func write(line: String)
}

/// Writes each line to a file descriptor whole: one `write` call, and never two threads at once.
public final class DescriptorLogSink: LogSink {
    /// Standard error, for all loggers of the process.
    public static let standardError = DescriptorLogSink(descriptor: STDERR_FILENO)

    /// The mutex orders lines longer than a pipe writes atomically, which take several calls.
    private let descriptor: Mutex<Int32>

    /// - Parameter descriptor: stays open as long as the sink lives, and is not closed by it.
    public init(descriptor: Int32) {
        self.descriptor = Mutex(descriptor)
    }

    public func write(line: String) {
        var line = line
        line.withUTF8 { bytes in
            self.descriptor.withLock { Self.write(UnsafeRawBufferPointer(bytes), to: $0) }
        }
    }

    /// A log that can't be written is given up, silently: there is nowhere left to say so.
    private static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if written > 0 {
                rest = rest.dropFirst(written)
            } else if written < 0, errno == EAGAIN {
                // Another holder of the descriptor made it non-blocking.
                var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&wait, 1, 1000)
            } else if written < 0, errno == EINTR {
                continue
            } else {
                return
            }
        }
    }
}
