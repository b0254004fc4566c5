import Glibc

/// A host's name or address, with a port.
struct HostPort: Sendable, Hashable, CustomStringConvertible {
    /// Without brackets.
    var host: String
    var port: Int

    init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Reads `host:port`, `[address]:port`, and both without a port where there is a default.
    init?(_ text: Substring, defaultPort: Int? = nil) {
        var port: Substring?
        if text.first == "[" {
            guard let end = text.firstIndex(of: "]") else { return nil }
            self.host = String(text[text.index(after: text.startIndex)..<end])
            let rest = text[text.index(after: end)...]
            guard Self.isIPv6(self.host), rest.isEmpty || rest.first == ":" else { return nil }
            if !rest.isEmpty { port = rest.dropFirst() }
        } else {
            let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            self.host = String(parts[0])
            guard Self.isName(self.host) else { return nil }
            if parts.count > 1 { port = parts[1] }
        }
        guard let port, !port.isEmpty else {
            guard let defaultPort else { return nil }
            self.port = defaultPort
            return
        }
        guard port.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let number = UInt16(port),
            number > 0
        else { return nil }
        self.port = Int(number)
    }

    /// As in a URL and in HTTP's `Host`.
    var description: String { self.isIPv6 ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)" }

    var isIPv6: Bool { self.host.contains(":") }

    /// The bytes of an address, in network order: 4, 16, or none where the host is a name.
    var addressBytes: [UInt8]? {
        var v4 = in_addr()
        if inet_pton(AF_INET, self.host, &v4) == 1 { return withUnsafeBytes(of: v4, Array.init) }
        var v6 = in6_addr()
        if inet_pton(AF_INET6, self.host, &v6) == 1 { return withUnsafeBytes(of: v6, Array.init) }
        return nil
    }

    private static func isIPv6(_ text: String) -> Bool {
        var address = in6_addr()
        return inet_pton(AF_INET6, text, &address) == 1
    }

    /// Letters, digits and what else stands in names that are really used; names in other scripts come as punycode (RFC 5891).
    private static func isName(_ text: String) -> Bool {
        (1...255).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }
}
