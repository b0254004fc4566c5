/// The names under which this module's log messages carry their metadata.
enum LogKeys {
    static let count = "count"
    static let error = "error"
    static let function = "function"
    static let queue = "queue"
    static let task = "task"
    static let traceback = "traceback"
}
