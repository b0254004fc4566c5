/// Whether a batch may leave something in its session that the next user of the connection would notice.
///
/// In the original each call had a connection of its own, so that temporary tables, `SET` options, `USE` and locks of the session ended with it. A connection
/// whose batch may have left such a thing is closed rather than given to another call. It is told by the batch's words, outside of strings, quoted names and comments; in
/// doubt it may.
enum SessionEffects {
    /// Statements that reach beyond their batch, or that may, since what they call can't be seen.
    private static let words: Set<String> = [
        "USE", "EXEC", "EXECUTE", "CURSOR", "REVERT", "SETUSER", "TRAN", "TRANSACTION", "DBCC", "OPEN", "KILL",
    ]
    /// A batch begins with one of these, or with the name of a procedure.
    private static let plain: Set<String> = [
        "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "SET", "DECLARE", "IF", "BEGIN", "WAITFOR", "PRINT",
        "RAISERROR", "THROW",
        "TRUNCATE", "CREATE", "ALTER", "DROP", "GRANT", "DENY", "REVOKE",
    ]

    static func mayOutlive(_ batch: String) -> Bool {
        var tokens = SQLTokens(batch)
        var isFirst = true
        var setting = Setting.none
        while let token = tokens.next() {
            switch token {
            case .word(let word):
                if isFirst, !self.plain.contains(word) { return true }
                if self.words.contains(word) || word.hasPrefix("#") { return true }
                // Whether the server counts rows is nothing that a caller sees.
                if word == "NOCOUNT", setting == .begun {
                    setting = .none
                } else if word == "SET" {
                    setting = .begun
                } else if !setting.name() {
                    return true
                }
            case .quoted(let name):
                if isFirst || name.hasPrefix("#") { return true }
                if !setting.name() { return true }
            case .symbol(let symbol):
                if !setting.symbol(symbol) { return true }
            case .literal:
                if !setting.literal() { return true }
            }
            isFirst = false
        }
        return setting == .named
    }
}

/// How far a `SET` has been read. `SET a = 1`, `SET t.a = 1` and `SET @a += 1` assign to what ends with its row or its batch; all else is an option of the session.
private enum Setting {
    case none, begun, named, operating

    /// - Returns: whether this may still be an assignment, as of each of these.
    mutating func name() -> Bool {
        switch self {
        case .none: return true
        case .begun:
            self = .named
            return true
        case .named, .operating: return false
        }
    }

    mutating func symbol(_ symbol: Character) -> Bool {
        switch self {
        case .none: return true
        case .named where symbol == ".": self = .begun
        case .named where "+-*/%&|^".contains(symbol): self = .operating
        case .named where symbol == "=", .operating where symbol == "=": self = .none
        case .begun, .named, .operating: return false
        }
        return true
    }

    func literal() -> Bool { self == .none }
}

/// The words and symbols of a batch, comments and space left out.
private struct SQLTokens {
    enum Token {
        /// In capitals.
        case word(String)
        /// A name in brackets or quotation marks, without these.
        case quoted(String)
        case symbol(Character)
        /// A string or a number.
        case literal
    }

    private var text: Substring.UTF8View

    init(_ batch: String) { self.text = batch[...].utf8 }

    mutating func next() -> Token? {
        while let first = self.text.first {
            switch first {
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\n"), UInt8(ascii: "\r"):
                self.text.removeFirst()
            case UInt8(ascii: "-") where self.text.dropFirst().first == UInt8(ascii: "-"):
                self.text = self.text.drop { $0 != UInt8(ascii: "\n") }
            case UInt8(ascii: "/") where self.text.dropFirst().first == UInt8(ascii: "*"):
                self.skipComment()
            case UInt8(ascii: "'"):
                _ = self.quoted(until: first)
                return .literal
            case UInt8(ascii: "\""):
                return .quoted(self.quoted(until: first))
            case UInt8(ascii: "["):
                return .quoted(self.quoted(until: UInt8(ascii: "]")))
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                self.text = self.text.drop { Self.isOfWord($0) || $0 == UInt8(ascii: ".") }
                return .literal
            default:
                return self.wordOrSymbol()
            }
        }
        return nil
    }

    private mutating func wordOrSymbol() -> Token {
        let word = self.text.prefix { Self.isOfWord($0) }
        guard !word.isEmpty else { return .symbol(Character(UnicodeScalar(self.text.removeFirst()))) }
        self.text = self.text[word.endIndex...]
        if word.elementsEqual("n".utf8) || word.elementsEqual("N".utf8), self.text.first == UInt8(ascii: "'") {
            _ = self.quoted(until: UInt8(ascii: "'"))
            return .literal
        }
        return .word(Substring(word).uppercased())
    }

    /// Comments nest.
    private mutating func skipComment() {
        var depth = 0
        while let first = self.text.popFirst() {
            if first == UInt8(ascii: "/"), self.text.first == UInt8(ascii: "*") {
                depth += 1
                self.text.removeFirst()
            } else if first == UInt8(ascii: "*"), self.text.first == UInt8(ascii: "/") {
                depth -= 1
                self.text.removeFirst()
                if depth == 0 { return }
            }
        }
    }

    /// What stands between the first byte and its counterpart, which is doubled where it is meant.
    private mutating func quoted(until end: UInt8) -> String {
        self.text.removeFirst()
        var name: [UInt8] = []
        while let next = self.text.popFirst() {
            if next == end {
                guard self.text.first == end else { break }
                self.text.removeFirst()
            }
            name.append(next)
        }
        return String(decoding: name, as: UTF8.self)
    }

    private static func isOfWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"), UInt8(ascii: "@"), UInt8(ascii: "#"), UInt8(ascii: "$"), 0x80...:
            true
        default: false
        }
    }
}
