/// One environment variable whose value can't be used.
public struct ConfigurationError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The variable's name.
    public var variable: String
    /// What was found, fit to be shown: quoted, shortened, and with secrets masked.
    public var found: String
    /// What would have been right.
    public var expected: String

    public var description: String { "\(self.variable): found \(self.found), expected \(self.expected)" }
}

/// All that is wrong with the environment; never empty.
public struct ConfigurationErrors: StartupError, Equatable {
    /// In the order of the table of variables.
    public var problems: [ConfigurationError]

    public var exitStatus: ExitStatus { .configuration }
    public var message: String { self.problems.first?.description ?? "wrong configuration" }
    public var details: [String] { self.problems.dropFirst().map(\.description) }
}
