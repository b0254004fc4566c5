/// The names under which this module's log messages carry their metadata.
enum LogKeys {
    static let endpoint = "amqp_endpoint"
    static let reason = "reason"
    static let error = "error"
    static let attempt = "attempt"
    static let retryIn = "retry_in_seconds"
}
