/// The names under which this module's log messages carry their metadata.
enum LogKeys {
    static let error = "error"
}
