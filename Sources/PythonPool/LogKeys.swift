/// Keys of the module's log metadata.
enum LogKeys {
    static let cause = "cause"
    static let count = "count"
    static let delay = "delay_ms"
    static let error = "error"
    static let exit = "exit"
    static let function = "function"
    static let generation = "generation"
    static let index = "worker"
    static let job = "job"
    static let limit = "limit"
    static let pid = "pid"
    static let place = "place"
    static let signal = "signal"
}
