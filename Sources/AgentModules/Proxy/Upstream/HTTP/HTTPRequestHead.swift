import NIOCore

/// The head of a request to a proxy (RFC 9112, sections 3 and 5).
struct HTTPRequestHead: Equatable {
    var method: String
    var target: [UInt8]
    var minorVersion: Int
    var fields: HTTPFields
    /// As it came.
    private var line: ByteBuffer

    init(parsing head: ByteBuffer) throws(HTTPProblem) {
        var head = head
        guard let line = head.readLine() else { throw HTTPProblem("an empty head") }
        let parts = line.readableBytesView.split(separator: .space, omittingEmptySubsequences: false)
        guard parts.count == 3, !parts[0].isEmpty, !parts[1].isEmpty, let version = HTTPVersion.minor(parts[2]) else {
            throw HTTPProblem("a request line that is not that of HTTP/1.1")
        }
        self.line = line
        self.method = String(decoding: parts[0], as: UTF8.self)
        self.target = Array(parts[1])
        self.minorVersion = version
        self.fields = try HTTPFields(parsing: &head)
    }

    /// Host and port of a `CONNECT` (RFC 9112, section 3.2.3).
    var authority: HostPort? { HostPort(String(decoding: self.target, as: UTF8.self)[...]) }

    /// The server of an absolute `http` URL, and what is to be asked of it (RFC 9112, sections 3.2.1 and 3.2.2); `nil` for any other target.
    var origin: (server: HostPort, target: [UInt8])? {
        let scheme = Array("http://".utf8)
        guard self.target.count > scheme.count,
            zip(self.target, scheme).allSatisfy({ $0 == $1 || $0 | 0x20 == $1 })
        else { return nil }
        let rest = self.target[scheme.count...]
        var authority = rest.prefix { $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") }
        var path = Array(rest[authority.endIndex...])
        if path.first != UInt8(ascii: "/") {
            path.insert(self.method == "OPTIONS" && path.isEmpty ? UInt8(ascii: "*") : UInt8(ascii: "/"), at: 0)
        }
        if let at = authority.lastIndex(of: UInt8(ascii: "@")) { authority = authority[(at + 1)...] }
        return HostPort(String(decoding: authority, as: UTF8.self)[...], defaultPort: 80).map { ($0, path) }
    }

    /// For another proxy: as it came, with our credentials in the place of any others.
    func forwarded(authorization: String?) -> ByteBuffer {
        var head = ByteBuffer()
        head.writeImmutableBuffer(self.line)
        head.writeStaticString("\r\n")
        self.fields.write(to: &head, without: ["proxy-authorization"])
        if let authorization {
            head.writeStaticString("Proxy-Authorization: ")
            head.writeString(authorization)
            head.writeStaticString("\r\n")
        }
        head.writeStaticString("\r\n")
        return head
    }

    /// For the server itself: without what is meant for proxies. `Host` stays what the client says.
    func forwarded(target: [UInt8], server: HostPort) -> ByteBuffer {
        var head = ByteBuffer()
        head.writeString(self.method)
        head.writeStaticString(" ")
        head.writeBytes(target)
        head.writeString(" HTTP/1.\(self.minorVersion)\r\n")
        self.fields.write(to: &head, without: ["proxy-authorization", "proxy-connection"])
        if !self.fields.contains("host") {
            let host = server.isIPv6 ? "[\(server.host)]" : server.host
            head.writeString("Host: \(host)\(server.port == 80 ? "" : ":\(server.port)")\r\n")
        }
        head.writeStaticString("\r\n")
        return head
    }
}

enum HTTPVersion {
    /// The minor version of `HTTP/1.0` or `HTTP/1.1`; `nil` for what is neither.
    static func minor(_ text: ByteBufferView.SubSequence) -> Int? {
        guard text.count == 8, text.starts(with: "HTTP/1.".utf8), let digit = text.last?.hexadecimalDigit, digit < 10
        else { return nil }
        return min(digit, 1)
    }
}
