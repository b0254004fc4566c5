/// A worker's name, `name@host` (`celery/utils/nodenames.py`).
public struct NodeName: Sendable, Hashable, CustomStringConvertible {
    public var name: String
    public var host: String

    public static let defaultName = "celery"

    public init(name: String, host: String) {
        self.name = name
        self.host = host
    }

    /// Expands the text given to `-n`: `%h` is the host's name with its domain, `%n` the name without it, `%d` the domain, `%%` a percent sign.
    /// Text without `@` is the host's part, and the name is `celery`, as in Celery.
    public init(expanding text: String, hostName: String) {
        let host = hostName
        let parts = host.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let shortHost = String(parts[0])
        let domain = parts.count > 1 ? String(parts[1]) : ""
        var expanded = ""
        var characters = text.makeIterator()
        while let character = characters.next() {
            guard character == "%" else {
                expanded.append(character)
                continue
            }
            switch characters.next() {
            case "h": expanded += host
            case "n": expanded += shortHost
            case "d": expanded += domain
            case "%": expanded += "%"
            case let other?: expanded += "%\(other)"
            case nil: expanded += "%"
            }
        }
        let halves = expanded.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        if halves.count == 2 {
            self.init(
                name: halves[0].isEmpty ? Self.defaultName : String(halves[0]),
                host: halves[1].isEmpty ? host : String(halves[1])
            )
        } else {
            self.init(name: Self.defaultName, host: expanded.isEmpty ? host : expanded)
        }
    }

    public var description: String { "\(self.name)@\(self.host)" }
}
