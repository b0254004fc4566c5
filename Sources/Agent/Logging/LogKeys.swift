/// The metadata keys of this module's log lines.
enum LogKeys {
    static let attempt = "attempt"
    static let address = "address"
    static let error = "error"
    static let key = "key"
    static let path = "path"
    static let python = "python"
    static let seconds = "seconds"
    static let tool = "tool"
}
