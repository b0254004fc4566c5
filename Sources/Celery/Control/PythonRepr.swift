public import JSON

/// Text as Python's `repr` writes it, for replies whose wording tools and tests compare.
public enum PythonRepr {
    /// A string in the quotes that Python would choose.
    public static func string(_ text: String) -> String {
        let quote: Character = text.contains("'") && !text.contains("\"") ? "\"" : "'"
        var result = String(quote)
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where Character(scalar) == quote: result += "\\\(quote)"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                let digits = String(scalar.value, radix: 16)
                result += "\\x" + String(repeating: "0", count: 2 - digits.utf8.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + String(quote)
    }

    /// A set of strings, in the order of the alphabet.
    public static func set(_ elements: Set<String>) -> String {
        elements.isEmpty ? "set()" : "{" + elements.sorted().map(Self.string).joined(separator: ", ") + "}"
    }

    public static func value(_ json: JSON) -> String {
        switch json {
        case .null: "None"
        case .bool(let value): value ? "True" : "False"
        case .int(let value): String(value)
        case .bigInteger(let digits): digits
        case .double(let value):
            value.isNaN ? "nan" : value.isInfinite ? (value < 0 ? "-inf" : "inf") : value.description
        case .string(let value): Self.string(value)
        case .array(let elements): "[" + elements.map(Self.value).joined(separator: ", ") + "]"
        case .object(let object):
            "{" + object.map { "\(Self.string($0.key)): \(Self.value($0.value))" }.joined(separator: ", ") + "}"
        }
    }
}
