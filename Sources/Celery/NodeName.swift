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
        let expanded = Self.expand(text, host: host, name: Self.halves(of: host).short)
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

    /// Expands the name of a file: `%n` is this name's part before the `@`, `%h` the part behind it, `%d` its domain, `%p` the whole; `%i`
    /// and `%I` are a process's index, here that of the parent: `0` and nothing (`node_format`).
    public func expanding(_ text: String) -> String {
        Self.expand(text, host: self.host, name: self.name, others: ["p": self.description, "i": "0", "I": ""])
    }

    private static func expand(
        _ text: String,
        host: String,
        name: String,
        others: [Character: String] = [:]
    ) -> String {
        var expanded = ""
        var characters = text.makeIterator()
        while let character = characters.next() {
            guard character == "%" else {
                expanded.append(character)
                continue
            }
            switch characters.next() {
            case "h": expanded += host
            case "n": expanded += name
            case "d": expanded += Self.halves(of: host).domain
            case "%": expanded += "%"
            case let other?: expanded += others[other] ?? "%\(other)"
            case nil: expanded += "%"
            }
        }
        return expanded
    }

    private static func halves(of host: String) -> (short: String, domain: String) {
        let parts = host.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        return (parts.first.map(String.init) ?? "", parts.count > 1 ? String(parts[1]) : "")
    }

    public var description: String { "\(self.name)@\(self.host)" }
}
