/// The statuses with which the agent's process ends; the numbers above 1 are those of BSD's `sysexits.h`.
public enum ExitStatus: Int32, Sendable {
    /// An ordered shutdown.
    case success = 0
    /// A cold shutdown: running jobs were cut short.
    case cold = 1
    /// Wrong usage of the command line.
    case usage = 64
    /// A server stayed out of reach past its deadline.
    case unavailable = 69
    /// The user's code, or what it requires, could not be loaded.
    case software = 70
    /// Wrong or missing configuration.
    case configuration = 78
}
