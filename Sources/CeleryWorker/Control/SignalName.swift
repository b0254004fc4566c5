import Celery
import Glibc
import JSON

/// Signals by the names that remote control knows (`celery/platforms.py`, `Signals.signum`).
enum SignalName {
    private static let numbers: [String: Int32] = [
        "HUP": SIGHUP, "INT": SIGINT, "QUIT": SIGQUIT, "ILL": SIGILL, "TRAP": SIGTRAP, "ABRT": SIGABRT, "BUS": SIGBUS,
        "FPE": SIGFPE, "KILL": SIGKILL, "USR1": SIGUSR1, "SEGV": SIGSEGV, "USR2": SIGUSR2, "PIPE": SIGPIPE,
        "ALRM": SIGALRM, "TERM": SIGTERM, "CHLD": SIGCHLD, "CONT": SIGCONT, "STOP": SIGSTOP, "TSTP": SIGTSTP,
        "TTIN": SIGTTIN, "TTOU": SIGTTOU, "URG": SIGURG, "XCPU": SIGXCPU, "XFSZ": SIGXFSZ, "VTALRM": SIGVTALRM,
        "PROF": SIGPROF, "WINCH": SIGWINCH, "SYS": SIGSYS,
    ]

    /// - Parameter value: a number, or a name in capitals, with or without `SIG`; `nil` is SIGTERM.
    static func number(_ value: JSON?) throws(SignalNameError) -> Int32 {
        switch value {
        case nil, .null, .string(""): return SIGTERM
        case .int(let number)?:
            guard (1...64).contains(number) else { throw SignalNameError(found: "\(number)", isName: false) }
            return Int32(number)
        case .string(let text)?:
            guard text == text.uppercased() else { throw SignalNameError(found: text, isName: false) }
            let name = text.hasPrefix("SIG") ? String(text.dropFirst(3)) : text
            guard let number = Self.numbers[name] else { throw SignalNameError(found: "SIG\(name)", isName: true) }
            return number
        case let other?: throw SignalNameError(found: other.kind, isName: false)
        }
    }
}

/// What is no signal's name.
struct SignalNameError: Error, Equatable, CustomStringConvertible {
    var found: String
    /// Whether it could be a name, of a signal that there is not.
    var isName: Bool

    /// As Python's `repr` has Celery's error.
    var representation: String {
        self.isName
            ? "AttributeError(\(PythonRepr.string("module 'signal' has no attribute '\(self.found)'")))"
            : "TypeError('signal name must be uppercase string.')"
    }

    var description: String { "signal \(self.found): expected a name in capitals, such as TERM, or a number" }
}
