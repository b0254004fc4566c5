/// What is wrong with a peer's HTTP: what was found.
struct HTTPProblem: Error, Equatable, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }
}
