/// How mitmdump is started.
struct MitmdumpCommand: Sendable {
    /// Of mitmdump.
    var program: String
    /// Of the add-on, which mitmdump loads.
    var script: String
    /// Where mitmproxy keeps its authority, and finds its own configuration (`config.yaml`).
    var directory: String
    var environment: [String: String]

    static let remedy = "scripts/setup makes it (.mitmproxy), or AGENT_PROXY_MITMDUMP names another"
    /// What the directory holds of the authority once there is one.
    var authority: String { "\(self.directory)/mitmproxy-ca.pem" }
    /// For clients to trust.
    var certificate: String { "\(self.directory)/mitmproxy-ca-cert.pem" }

    /// - Parameters:
    ///   - port: to listen on, on loopback; 0 for any free one.
    ///   - upstream: the port of the relay on loopback.
    func process(
        port: Int,
        upstream: Int,
        control: Int32,
        log: @escaping @Sendable (_ line: String, _ isError: Bool) -> Void
    ) -> ProcessCommand {
        var environment = self.environment
        // For the worker's Python, whose packages may not fit; and the upstream's credentials, which are none of mitmproxy's business.
        for name in ["PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PROXY_PROVIDER_URL"] { environment[name] = nil }
        environment["PYTHONUNBUFFERED"] = "1"
        return ProcessCommand(
            executable: self.program,
            arguments: [
                "--mode", "upstream:http://127.0.0.1:\(upstream)",
                "--listen-host", "127.0.0.1", "--listen-port", "\(port)",
                "--set", "confdir=\(self.directory)",
                "--set", "termlog_verbosity=warn", "--set", "flow_detail=0",
                "--scripts", self.script,
            ],
            environment: environment,
            inherited: [control],
            standardOutput: .lines { log($0, Self.isMitmproxys($0)) },
            standardError: .lines { log($0, true) },
            remedy: Self.remedy
        )
    }

    /// Whether a line is of mitmproxy's own log, of which only warnings and errors are written: `[12:34:56.789] …`. Others are what the user's functions print.
    static func isMitmproxys(_ line: String) -> Bool {
        var digits = line.utf8.dropFirst()
        guard line.utf8.first == UInt8(ascii: "["), let end = digits.firstIndex(of: UInt8(ascii: "]")) else {
            return false
        }
        digits = digits[..<end]
        return digits.count == 12 && digits.allSatisfy { (0x30...0x3A).contains($0) || $0 == UInt8(ascii: ".") }
    }
}
