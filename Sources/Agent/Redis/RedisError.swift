/// Why Redis could not be asked. Holds no secret; what a server said is shown only where it can't repeat one.
public enum RedisError: Error, Equatable, Sendable {
    /// No connection could be made: refused, no route, no such host.
    case unreachable(reason: String)
    /// The TLS handshake failed.
    case tlsFailed(reason: String)
    /// The files for TLS can't be used.
    case tlsConfiguration(reason: String)
    /// No answer in time to what is named: "connecting", "GET".
    case timedOut(String, after: Duration)
    /// The server closed the connection.
    case closed
    /// The password, or the user, is not right, or one is needed.
    case authenticationFailed(code: String)
    /// The server is up and can't answer yet: it's loading, or has no room for the connection.
    case busy(reason: String)
    /// The key holds something other than a string.
    case wrongType(key: String)
    /// Any other error that the server answered.
    case refused(command: String, reason: String)
    /// The answer was not one of Redis.
    case protocolViolation(reason: String)

    /// Whether a later attempt may do better, without a change to our configuration.
    public var isTransient: Bool {
        switch self {
        case .unreachable, .tlsFailed, .timedOut, .closed, .busy, .protocolViolation: true
        case .tlsConfiguration, .authenticationFailed, .wrongType, .refused: false
        }
    }
}

extension RedisError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .unreachable(let reason): "not reachable (\(reason))"
        case .tlsFailed(let reason): "TLS failed (\(reason))"
        case .tlsConfiguration(let reason): "the files for TLS can't be used (\(reason))"
        case .timedOut(let what, let limit): "no answer to \(what) within \(limit)"
        case .closed: "the server closed the connection"
        case .authenticationFailed(let code):
            "the server refused the credentials (\(code)); AGENT_REDIS_USER and AGENT_REDIS_PASSWORD give them"
        case .busy(let reason): "the server can't answer yet (\(reason))"
        case .wrongType(let key): "the key \(Redaction.quoted(key)) doesn't hold a string"
        case .refused(let command, let reason): "the server refused \(command) (\(reason))"
        case .protocolViolation(let reason): "the answer is not one of Redis (\(reason))"
        }
    }
}

extension RedisError {
    /// What an error reply means.
    init(code: String, text: String, command: RESPCommand) {
        let shown = LogText.escaped(String((code + " " + text).prefix(200)), quotes: false)
        // An unknown command's error repeats its arguments, so of AUTH's only the code is shown.
        let shownCode = LogText.escaped(String(code.prefix(40)), quotes: false)
        switch code {
        case "LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN":
            self = .busy(reason: shownCode)
        case "ERR" where text.hasPrefix("max number of clients"):
            self = .busy(reason: "its number of clients is reached")
        case "WRONGPASS", "NOAUTH":
            self = .authenticationFailed(code: shownCode)
        default:
            switch command {
            case .auth: self = .authenticationFailed(code: shownCode)
            case .get(let key) where code == "WRONGTYPE": self = .wrongType(key: key)
            case .get, .select: self = .refused(command: command.name, reason: shown)
            }
        }
    }
}
