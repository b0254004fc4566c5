import Glibc

/// The few file operations of start-up; errors are told by their text.
enum FileSystem {
    struct Failure: Error, CustomStringConvertible {
        var description: String

        /// From `errno`, right after the call that failed.
        init(_ what: String, _ path: String) {
            self.description = "\(what) \(path): \(String(cString: strerror(errno)))"
        }
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    static func isWritable(_ path: String) -> Bool { access(path, W_OK) == 0 }

    /// Whether `path` is a file that may be executed.
    static func isExecutable(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG && access(path, X_OK) == 0
    }

    /// A path whose `~/` stands for the user's home.
    static func expanded(_ path: String, environment: [String: String]) -> String {
        guard path.hasPrefix("~/") else { return path }
        let home = environment["HOME"].flatMap { $0.isEmpty ? nil : $0 }
        return (home ?? getpwuid(geteuid()).map { String(cString: $0.pointee.pw_dir) } ?? "") + path.dropFirst()
    }

    /// A new folder that only we can enter, with the system's folder for temporary files as its parent.
    static func makePrivateFolder(environment: [String: String]) throws(Failure) -> String {
        let parent = environment["TMPDIR"].flatMap { $0.isEmpty ? nil : $0 } ?? "/tmp"
        var template = Array((parent + "/armada-agent-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure("can't make a folder in", parent) }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Writes a file that only we can read, replacing any file of that name as a whole.
    static func write(_ bytes: [UInt8], to path: String) throws(Failure) {
        let temporary = path + ".new"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw Failure("can't create", temporary) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else {
                let failure = Failure("can't write", temporary)
                close(descriptor)
                unlink(temporary)
                throw failure
            }
            rest = rest.dropFirst(written)
        }
        guard close(descriptor) == 0, rename(temporary, path) == 0 else {
            let failure = Failure("can't write", path)
            unlink(temporary)
            throw failure
        }
    }

    /// A small file's bytes; `nil` if it can't be read.
    static func read(_ path: String, limit: Int) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var result: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while result.count <= limit {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { return nil }
            if count == 0 { return result }
            result.append(contentsOf: chunk.prefix(count))
        }
        return nil
    }

    /// A small file's text; `nil` if it can't be read.
    static func contents(of path: String) -> String? {
        Self.read(path, limit: 65536).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Runs `body` while no other process holds the lock of this file, which ends with the process that holds it.
    ///
    /// - Parameter onWait: called once if another holds it.
    static func withLock<Result>(_ path: String, onWait: () -> Void, _ body: () async throws -> Result) async throws
        -> Result
    {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw Failure("can't lock", path) }
        defer { close(descriptor) }
        var hasWaited = false
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR else { throw Failure("can't lock", path) }
            if !hasWaited { onWait() }
            hasWaited = true
            try await Task.sleep(for: .milliseconds(200))
        }
        return try await body()
    }

    /// Removes files of a folder, and the folder.
    static func removeFolder(_ path: String, files: [String]) {
        for file in files { unlink(path + "/" + file) }
        rmdir(path)
    }
}
