import Glibc
import NIOConcurrencyHelpers

/// The file with the secret that opens the agent's virtual screens.
///
/// Without one, whoever has an account on the machine could read the screens and type on them. A virtual screen is for the agent's user alone, and for all of
/// its processes: one secret does for all screens. The entry is one for any host and any screen.
final class DisplayAuthority: Sendable {
    private let path = NIOLockedValueBox<String?>(nil)

    /// Makes the file when it is first needed.
    func file() throws(ModuleError) -> String {
        try self.path.withLockedValue { path in
            let result = path.map { .success($0) } ?? Result(catching: Self.make)
            path = try? result.get()
            return result
        }.get()
    }

    func remove() {
        self.path.withLockedValue { path in
            if let path { unlink(path) }
            path = nil
        }
    }

    private static func make() throws(ModuleError) -> String {
        let folder = getenv("TMPDIR").map { String(cString: $0) } ?? ""
        var random = SystemRandomNumberGenerator()
        let name = "armada-agent-Xauthority-\(String(random.next(), radix: 36))"
        let path = "\(folder.isEmpty ? "/tmp" : folder)/\(name)"
        // Readable for us alone.
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw self.failure(path) }
        defer { close(descriptor) }
        let entry = self.entry(secret: (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) })
        guard write(descriptor, entry, entry.count) == entry.count else {
            unlink(path)
            throw self.failure(path)
        }
        return path
    }

    private static func failure(_ path: String) -> ModuleError {
        let reason = String(cString: strerror(errno))
        return ModuleError("system", "the secret of the screens can't be written to \(path): \(reason)")
    }

    /// As libXau reads it (`XauReadAuth`): family, address, display, name and data; all but the family with their lengths, and numbers in network order.
    static func entry(secret: [UInt8]) -> [UInt8] {
        // FamilyWild: whatever the address; no display: whatever its number.
        let family: [UInt8] = [0xFF, 0xFF]
        let parts = [[], [], Array("MIT-MAGIC-COOKIE-1".utf8), secret]
        return parts.reduce(into: family) { bytes, part in
            bytes += [UInt8(truncatingIfNeeded: part.count >> 8), UInt8(truncatingIfNeeded: part.count)] + part
        }
    }
}
