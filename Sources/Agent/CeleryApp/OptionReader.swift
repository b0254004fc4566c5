/// An option of the command line whose value can't be used, or that this worker can't honour.
public struct OptionProblem: Error, Equatable, Sendable, CustomStringConvertible {
    /// As Celery names it, or the environment variable that stands for it.
    public var option: String
    /// What was found, fit to be shown.
    public var found: String
    /// What would have been right, and what to do.
    public var expected: String

    public var description: String { "\(self.option): found \(self.found), expected \(self.expected)" }
}

/// All that is wrong with a command line; never empty.
public struct OptionProblems: StartupError, Equatable {
    public var problems: [OptionProblem]

    public var exitStatus: ExitStatus { .usage }
    public var message: String { self.problems.first?.description ?? "wrong usage" }
    public var details: [String] { self.problems.dropFirst().map(\.description) }
}

/// Reads options one by one, for those not given the environment variables by which Celery's command line knows them, and keeps every problem.
struct OptionReader {
    private let environment: [String: String]
    private(set) var problems: [OptionProblem] = []

    init(environment: [String: String]) {
        self.environment = environment
    }

    /// An option of `celery` itself: `CELERY_NAME`, after the variable that Celery gives it by hand.
    mutating func general<Value>(
        _ option: String,
        _ given: String?,
        _ format: ValueFormat<Value>,
        variable: String? = nil
    ) -> Value? {
        self.value(option, given, format, variables: [variable, Self.variable("CELERY_", option)].compactMap { $0 })
    }

    /// An option of `celery worker`: `CELERY_WORKER_NAME`.
    mutating func worker<Value>(_ option: String, _ given: String?, _ format: ValueFormat<Value>) -> Value? {
        self.value(option, given, format, variables: [Self.variable("CELERY_WORKER_", option)])
    }

    /// A flag of `celery worker`.
    mutating func flag(_ option: String, _ given: Bool) -> Bool {
        given || self.worker(option, nil, .boolean) == true
    }

    mutating func report(_ option: String, found: String, expected: String) {
        self.problems.append(OptionProblem(option: option, found: found, expected: expected))
    }

    private mutating func value<Value>(
        _ option: String,
        _ given: String?,
        _ format: ValueFormat<Value>,
        variables: [String]
    ) -> Value? {
        if let given { return self.parsed(given, format, from: option) }
        for variable in variables {
            // As everywhere in Celery's command line, an empty variable is none.
            if let text = self.environment[variable], !text.isEmpty {
                return self.parsed(text, format, from: "\(variable) (\(option))")
            }
        }
        return nil
    }

    private mutating func parsed<Value>(_ text: String, _ format: ValueFormat<Value>, from source: String) -> Value? {
        if let value = format.parse(text) { return value }
        self.report(source, found: Redaction.quoted(text), expected: format.expected)
        return nil
    }

    private static func variable(_ prefix: String, _ option: String) -> String {
        prefix + option.drop { $0 == "-" }.uppercased().split(separator: "-").joined(separator: "_")
    }
}
