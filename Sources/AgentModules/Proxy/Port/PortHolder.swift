import Glibc

/// The process that listens on a port, as far as /proc tells.
struct PortHolder: Equatable, CustomStringConvertible {
    var pid: Int32
    /// The program's name, without its arguments, which may hold secrets.
    var name: String

    var description: String { "process \(self.pid) (\(self.name))" }

    /// Whether our own process could listen on a port of 127.0.0.1 now.
    static func isFree(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return true }
        defer { close(descriptor) }
        // As mitmproxy does, so that connections of an earlier proxy that are being closed do not count.
        var on: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(truncatingIfNeeded: port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        // Other errors are mitmproxy's to tell.
        return result == 0 || errno != EADDRINUSE
    }

    /// - Returns: `nil` where it can't be told: the process may be another user's, or in another container.
    static func of(port: Int) -> PortHolder? {
        let inodes = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap { Self.listeners(port, in: Self.lines(of: $0)) }
        guard !inodes.isEmpty else { return nil }
        let targets = inodes.map { "socket:[\($0)]" }
        for name in Self.entries(of: "/proc") {
            guard let pid = Int32(name) else { continue }
            for entry in Self.entries(of: "/proc/\(name)/fd") {
                if let target = Self.link("/proc/\(name)/fd/\(entry)"), targets.contains(target) {
                    return PortHolder(pid: pid, name: Self.lines(of: "/proc/\(name)/comm").first ?? "?")
                }
            }
        }
        return nil
    }

    /// The inodes of the sockets that listen on a port, of a table as proc(5) describes it.
    static func listeners(_ port: Int, in table: [String]) -> [String] {
        table.compactMap { line in
            let fields = line.split(separator: " ")
            // TCP_LISTEN
            guard fields.count > 9, fields[3] == "0A",
                let local = fields[1].split(separator: ":").last, Int(local, radix: 16) == port
            else { return nil }
            return String(fields[9])
        }
    }

    private static func lines(of path: String) -> [String] {
        guard let file = fopen(path, "re") else { return [] }
        defer { fclose(file) }
        var lines: [String] = []
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        while getline(&line, &capacity, file) > 0, let line {
            lines.append(String(String(cString: line).drop { $0 == " " }.prefix { $0 != "\n" }))
        }
        return lines
    }

    private static func entries(of path: String) -> [String] {
        guard let folder = opendir(path) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
            )
        }
        return names
    }

    private static func link(_ path: String) -> String? {
        var buffer = [CChar](repeating: 0, count: 64)
        let count = readlink(path, &buffer, buffer.count)
        guard count > 0 else { return nil }
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
