import CFreeTDS
import JSON

/// Why a statement, or a login, has failed.
struct SQLFailure: Error, Equatable {
    enum Source: Equatable {
        /// The server tells: `number`, `severity`, `state` and `line` are its own.
        case server
        /// FreeTDS tells: mostly of the network. `number` is db-library's.
        case library
        case timeLimit
        case interrupted
    }

    var source: Source
    var number: Int
    var severity: Int
    var state: Int
    var line: Int
    var text: String

    init(source: Source, number: Int, severity: Int = 0, state: Int = 0, line: Int = 0, text: String) {
        self.source = source
        self.number = number
        self.severity = severity
        self.state = state
        self.line = line
        self.text = text
    }

    init(_ message: UnsafePointer<cfreetds_message>) {
        self.source =
            switch message.pointee.source {
            case CFREETDS_SERVER: .server
            case CFREETDS_TIMED_OUT: .timeLimit
            case CFREETDS_INTERRUPTED: .interrupted
            default: .library
            }
        self.number = Int(message.pointee.number)
        self.severity = Int(message.pointee.severity)
        self.state = Int(message.pointee.state)
        self.line = Int(message.pointee.line)
        // A text that was cut may end within a character.
        self.text = String(cString: cfreetds_text(message))
    }
}

extension SQLFailure {
    /// As the caller is told. `kind` is `sql` for the server's errors, else `connection`, `timeout` or `cancelled`.
    func moduleError(queryTimeout: Int) -> ModuleError {
        let details: JSONObject = [
            "number": .int(Int64(self.number)), "severity": .int(Int64(self.severity)),
            "state": .int(Int64(self.state)), "line": .int(Int64(self.line)), "text": .string(self.text),
        ]
        return switch self.source {
        case .server: ModuleError("sql", self.text, details: details)
        case .library: ModuleError("connection", "SQL Server: \(self.text)", details: details)
        case .timeLimit:
            ModuleError(
                "timeout",
                "the statement was cancelled after \(queryTimeout) s (AGENT_SQL_QUERY_TIMEOUT)",
                details: details
            )
        case .interrupted: ModuleError("cancelled", "the caller has gone", details: details)
        }
    }
}
