import Glibc
import NIOCore

/// The files of an outbox, in a folder that one agent uses at a time: `journal`, and `refused` for what the backend will never take.
///
/// Calls block, so they are made on a thread of their own, but for opening.
struct OutboxFile: Sendable {
    private let directory: String
    private let journal: Int32

    /// Makes the folder if it isn't there, and reads what an earlier agent has left.
    /// - Returns: the records, and the length up to which they are whole; what follows is cut off.
    static func open(_ directory: String) throws(ModuleError) -> (
        file: OutboxFile, records: [OutboxRecord], length: Int64
    ) {
        try Self.makeDirectory(directory)
        let path = "\(directory)/journal"
        let journal = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard journal >= 0 else { throw Self.failure("open", path) }
        do throws(ModuleError) {
            guard flock(journal, LOCK_EX | LOCK_NB) == 0 else {
                throw ModuleError(
                    "outbox",
                    "\(path) is used by another agent; each needs an AGENT_MONITORING_OUTBOX of its own"
                )
            }
            let file = OutboxFile(directory: directory, journal: journal)
            let (records, length) = try file.read(path)
            try Self.synchronize(directory: directory)
            return (file, records, length)
        } catch {
            _ = Glibc.close(journal)
            throw error
        }
    }

    /// Appends at `offset`, and returns once it is on the disk. If it fails, nothing has been appended.
    func append(_ data: ByteBuffer, at offset: Int64) throws(ModuleError) {
        guard data.withUnsafeReadableBytes({ Self.write($0, to: self.journal, at: offset) }),
            fdatasync(self.journal) == 0
        else {
            let error = Self.failure("write", "\(self.directory)/journal")
            _ = ftruncate(self.journal, off_t(offset))
            throw error
        }
    }

    /// Cuts off all from `length` on.
    func truncate(to length: Int64) throws(ModuleError) {
        guard ftruncate(self.journal, off_t(length)) == 0 else {
            throw Self.failure("truncate", "\(self.directory)/journal")
        }
    }

    /// Appends a line to the file of what was refused, and returns once it is on the disk.
    func bury(_ line: ByteBuffer) throws(ModuleError) {
        let path = "\(self.directory)/refused"
        let file = Glibc.open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw Self.failure("open", path) }
        defer { _ = Glibc.close(file) }
        let end = lseek(file, 0, SEEK_END)
        guard end >= 0, line.withUnsafeReadableBytes({ Self.write($0, to: file, at: Int64(end)) }), fsync(file) == 0
        else { throw Self.failure("write", path) }
    }

    func close() {
        // A process that is just being started has the descriptor, too, until it runs its program: closing ours alone would leave the lock to it.
        _ = flock(self.journal, LOCK_UN)
        _ = Glibc.close(self.journal)
    }

    private func read(_ path: String) throws(ModuleError) -> ([OutboxRecord], Int64) {
        var status = stat()
        guard fstat(self.journal, &status) == 0 else { throw Self.failure("stat", path) }
        var buffer = ByteBuffer()
        var count = 0
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: Int(status.st_size)) { target in
            while count < Int(status.st_size) {
                let rest = UnsafeMutableRawBufferPointer(rebasing: target[count..<Int(status.st_size)])
                let read = pread(self.journal, rest.baseAddress, rest.count, off_t(count))
                guard read > 0 else { break }
                count += read
            }
            return count
        }
        guard count == Int(status.st_size) else { throw Self.failure("read", path) }
        let header = OutboxRecord.header
        guard buffer.readableBytes >= header.readableBytes else {
            try self.truncate(to: 0)
            try self.append(header, at: 0)
            return ([], Int64(header.readableBytes))
        }
        guard buffer.readSlice(length: header.readableBytes) == header else {
            throw ModuleError("outbox", "\(path) is no outbox's journal; expected a file that this agent has made")
        }
        var records: [OutboxRecord] = []
        while let record = OutboxRecord.read(from: &buffer) { records.append(record) }
        let length = Int64(buffer.readerIndex)
        try self.truncate(to: length)
        return (records, length)
    }

    private static func makeDirectory(_ directory: String) throws(ModuleError) {
        var path = directory.hasPrefix("/") ? "" : "."
        for part in directory.split(separator: "/") {
            path += "/\(part)"
            guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw Self.failure("make", path) }
        }
    }

    /// A new file is there after a crash only once its folder is on the disk.
    private static func synchronize(directory: String) throws(ModuleError) {
        let folder = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw Self.failure("open", directory) }
        defer { _ = Glibc.close(folder) }
        guard fsync(folder) == 0 else { throw Self.failure("synchronize", directory) }
    }

    private static func write(_ bytes: UnsafeRawBufferPointer, to file: Int32, at offset: Int64) -> Bool {
        var position = 0
        while position < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[position...])
            let count = pwrite(file, rest.baseAddress, rest.count, off_t(offset) + off_t(position))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            position += count
        }
        return true
    }

    private static func failure(_ action: String, _ path: String) -> ModuleError {
        ModuleError("outbox", "the outbox can't \(action) \(path): \(String(cString: strerror(errno)))")
    }
}
