extension CeleryAppOptions {
    /// The options of `celery` that have their value as an argument of its own.
    private static let general = [
        "-A", "--app", "-b", "--broker", "--result-backend", "--loader", "--config", "--workdir",
    ]

    /// A command line in the order that `armada-agent` reads. Celery's has some options before the word `worker`
    /// (`celery -A proj worker -l info`), so that replacing the word `celery` by `armada-agent` is to be enough.
    public static func arguments(_ given: [String]) -> [String] {
        var index = 0
        while index < given.count, given[index].hasPrefix("-") {
            index += Self.general.contains(given[index]) ? 2 : 1
        }
        guard index > 0, index < given.count, given[index] == "worker" else { return given }
        return ["worker"] + given[..<index] + given[(index + 1)...]
    }
}
