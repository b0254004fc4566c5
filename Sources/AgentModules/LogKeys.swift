/// The names under which this module's log messages carry their metadata.
enum LogKeys {
    static let count = "count"
    static let error = "error"
    static let task = "task"
}
