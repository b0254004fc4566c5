/// How a process ended.
public enum ProcessExit: Sendable, Hashable, CustomStringConvertible {
    /// By `exit`, with this status.
    case code(Int32)
    /// By this signal.
    case signal(Int32)

    /// - Parameter status: as `waitpid` gives it.
    public init(waitStatus status: Int32) {
        let signal = status & 0x7F
        self = signal == 0 ? .code((status >> 8) & 0xFF) : .signal(signal)
    }

    /// In billiard's words.
    public var description: String {
        switch self {
        case .code(let code): "exitcode \(code)"
        case .signal(let number): "signal \(number) (\(SignalNames.name(number)))"
        }
    }
}

enum SignalNames {
    private static let names: [Int32: String] = [
        1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
        9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM",
        24: "SIGXCPU", 25: "SIGXFSZ", 31: "SIGSYS",
    ]

    static func name(_ number: Int32) -> String {
        names[number] ?? "\(number)"
    }
}
