import Glibc

/// Keeps two agents from making mitmproxy's authority at the same time: whoever trusts the one that was overwritten would trust no proxy.
struct AuthorityLock: Sendable {
    private static let interval = Duration.milliseconds(20)

    private let descriptor: Int32

    /// - Returns: `nil` where there is an authority already.
    /// - Throws: `authority` where its directory can't be made.
    static func take(for command: MitmdumpCommand, within limit: Duration) async throws(ModuleError) -> AuthorityLock? {
        if access(command.authority, F_OK) == 0 { return nil }
        try self.makeDirectory(command.directory)
        let path = "\(command.directory)/.armada-agent.lock"
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw self.failure("open", path) }
        let lock = AuthorityLock(descriptor: descriptor)
        let deadline = ContinuousClock.now + limit
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            guard ContinuousClock.now < deadline, (try? await Task.sleep(for: self.interval)) != nil else {
                lock.release()
                throw ModuleError("authority", "\(path) is held by another agent, which makes mitmproxy's authority")
            }
        }
        if access(command.authority, F_OK) == 0 {
            lock.release()
            return nil
        }
        return lock
    }

    func release() { close(self.descriptor) }

    private static func makeDirectory(_ path: String) throws(ModuleError) {
        for end in path.indices.dropFirst().filter({ path[$0] == "/" }) + [path.endIndex] {
            let folder = String(path[..<end])
            guard mkdir(folder, 0o700) == 0 || errno == EEXIST else { throw self.failure("make", folder) }
        }
    }

    private static func failure(_ what: String, _ path: String) -> ModuleError {
        ModuleError(
            "authority",
            "can't \(what) \(path) (\(String(cString: strerror(errno)))): AGENT_PROXY_CA_DIRECTORY names the folder of mitmproxy's authority"
        )
    }
}
