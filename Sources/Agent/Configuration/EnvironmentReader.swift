/// Reads variables one by one and keeps every problem, so that all can be told at once.
struct EnvironmentReader {
    let environment: [String: String]
    /// In the order of the table.
    var problems: [ConfigurationError] { self.reported.sorted { $0.position < $1.position }.map(\.problem) }
    /// The names asked for, by which a test shows that the table is complete.
    private(set) var namesRead: [String] = []
    private var reported: [(position: Int, problem: ConfigurationError)] = []

    init(_ environment: [String: String]) {
        self.environment = environment
    }

    /// The variable's value; its default if it's unset, empty, or wrong, which is then reported.
    subscript<Value>(_ variable: EnvironmentVariable<Value>) -> Value {
        mutating get {
            self.namesRead.append(variable.name)
            guard let text = self.environment[variable.name], !text.isEmpty else {
                if variable.isRequired {
                    self.report(variable, found: "nothing", expected: variable.format.expected)
                }
                return variable.defaultValue
            }
            if let value = variable.format.parse(text) { return value }
            let found = variable.isSecret ? "a value that is not shown" : Redaction.quoted(text)
            self.report(variable, found: found, expected: variable.format.expected)
            return variable.defaultValue
        }
    }

    mutating func report<Value>(_ variable: EnvironmentVariable<Value>, found: String, expected: String) {
        let position = Variables.table.firstIndex { $0.name == variable.name } ?? Variables.table.count
        let problem = ConfigurationError(variable: variable.name, found: found, expected: expected)
        self.reported.append((position, problem))
    }
}
