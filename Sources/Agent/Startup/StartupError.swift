/// An error that ends the agent before its first job: what to print, and with which status to exit.
///
/// Neither `message` nor `details` holds a secret; both may be printed as they are.
public protocol StartupError: Error, CustomStringConvertible {
    /// The status with which the process is to end.
    var exitStatus: ExitStatus { get }
    /// What is wrong, on one line.
    var message: String { get }
    /// Further lines that help (the last lines of an installer, further wrong variables); often none.
    var details: [String] { get }
}

extension StartupError {
    public var details: [String] { [] }
    public var description: String { ([self.message] + self.details).joined(separator: "\n") }
}
