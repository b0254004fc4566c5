/// Why there is no task definition.
public enum TaskDefinitionError: StartupError, Equatable {
    /// It was looked for until the deadline. `lastError` is `nil` if Redis answered, and had no such key.
    case unavailable(
        key: String,
        database: Int,
        address: String,
        waited: Duration,
        attempts: Int,
        lastError: RedisError?
    )
    /// Redis answered in a way that waiting won't change.
    case refused(key: String, address: String, RedisError)
    /// The key's value is no task definition.
    case invalid(key: String, found: String)

    public var exitStatus: ExitStatus {
        switch self {
        case .unavailable: .unavailable
        case .refused, .invalid: .configuration
        }
    }

    public var message: String {
        switch self {
        case .unavailable(let key, let database, let address, let waited, let attempts, let lastError):
            let tries = attempts == 1 ? "1 attempt" : "\(attempts) attempts"
            let reason =
                if let lastError { "Redis at \(address): \(lastError)" } else {
                    "Redis at \(address) has no such key in database \(database)"
                }
            return "task definition \(Redaction.quoted(key)) not found in \(waited.seconds) s, \(tries): \(reason)"
        case .refused(let key, let address, let error):
            return "task definition \(Redaction.quoted(key)): Redis at \(address): \(error)"
        case .invalid(let key, let found):
            let expected = "expected a JSON object with a string \"code\""
            return "task definition \(Redaction.quoted(key)): found \(found), \(expected)"
        }
    }
}

extension Duration {
    /// Seconds with at most one decimal, for messages.
    var seconds: String {
        let tenths = Int64(self / .milliseconds(100))
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
    }
}
