import Glibc

/// Asks an agent on this machine how it is, for orchestrators that run a command: in a fraction of the time that `celery inspect ping` takes,
/// and also while the agent drains.
public struct Probe: Sendable {
    public enum Kind: String, Sendable, CaseIterable {
        case live
        case ready
        case startup

        var path: String {
            switch self {
            case .live: "/livez"
            case .ready: "/readyz"
            case .startup: "/startupz"
            }
        }
    }

    /// What came back.
    public struct Result: Sendable, Equatable {
        public var isPassed: Bool
        /// What the agent said, or why nothing came from it.
        public var text: String
    }

    private let kind: Kind
    private let address: ProbeServer.Address
    private let timeout: Int

    /// - Parameters:
    ///   - environment: tells by `AGENT_HTTP_PORT` and `AGENT_HTTP_HOST` where the agent listens; where that is on all addresses, the loopback one is
    ///     asked.
    ///   - timeout: seconds for each step.
    /// - Throws: if no port is set, or either can't be understood.
    public init(_ kind: Kind, environment: [String: String], timeout: Int) throws(ConfigurationErrors) {
        guard let address = try ProbeServer.Address(environment: environment) else {
            throw ConfigurationErrors(problems: [
                ConfigurationError(
                    variable: Variables.httpPort.name,
                    found: "nothing",
                    expected: "the port where the agent listens"
                )
            ])
        }
        self.init(kind, at: address, timeout: timeout)
    }

    init(_ kind: Kind, at address: ProbeServer.Address, timeout: Int) {
        self.kind = kind
        self.address = address
        self.timeout = timeout
    }

    /// Asks, and waits for the answer; blocks its thread.
    public func run() -> Result {
        let host = ["0.0.0.0": "127.0.0.1", "::": "::1"][self.address.host] ?? self.address.host
        guard let socket = self.connect(host) else {
            return Result(isPassed: false, text: "no agent answers at \(host), port \(self.address.port)")
        }
        defer { close(socket) }
        let request = "GET \(self.kind.path) HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n"
        guard Self.send(request, to: socket),
            let answer = Self.receive(from: socket)
        else {
            return Result(isPassed: false, text: "no answer came within \(self.timeout) s")
        }
        return Self.result(of: answer)
    }

    static func result(of answer: String) -> Result {
        let status = answer.split(separator: " ", maxSplits: 2).dropFirst().first.flatMap { Int($0) }
        guard answer.hasPrefix("HTTP/1."), let status else {
            return Result(isPassed: false, text: "what answers is no agent")
        }
        // In text with CR LF line ends, each pair is one character.
        let lines = answer.split(separator: "\r\n", omittingEmptySubsequences: false)
        let body = lines.drop { !$0.isEmpty }.dropFirst().joined(separator: "\n")
        return Result(isPassed: status == 200, text: body.isEmpty ? "status \(status)" : body)
    }

    private func connect(_ host: String) -> Int32? {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(self.address.port), &hints, &list) == 0 else { return nil }
        defer { freeaddrinfo(list) }
        var next = list
        while let info = next?.pointee {
            next = info.ai_next
            let socket = socket(info.ai_family, info.ai_socktype, info.ai_protocol)
            guard socket >= 0 else { continue }
            var limit = timeval(tv_sec: self.timeout, tv_usec: 0)
            for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
                setsockopt(socket, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
            }
            if Glibc.connect(socket, info.ai_addr, info.ai_addrlen) == 0 { return socket }
            close(socket)
        }
        return nil
    }

    private static func send(_ text: String, to socket: Int32) -> Bool {
        let bytes = Array(text.utf8)
        return bytes.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            == bytes.count
    }

    /// Until the other end closes; `nil` if that takes too long.
    private static func receive(from socket: Int32) -> String? {
        var answer: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while answer.count < 65_536 {
            let count = chunk.withUnsafeMutableBytes { recv(socket, $0.baseAddress, $0.count, 0) }
            if count == 0 { break }
            guard count > 0 else { return nil }
            answer += chunk.prefix(count)
        }
        return String(decoding: answer, as: UTF8.self)
    }
}
