import JSON
import NIOCore

/// A proxy configuration as the query that asks the provider for a proxy: every truthy field, written as Python's `requests` would write it.
enum ProviderQuery {
    /// A list gives its field once for each of its elements that is not `None`, as with `requests`. Of a dictionary `requests` would send the keys alone; here, and
    /// for lists within lists, the value is sent as JSON.
    static func encode(_ fields: JSONObject) -> String {
        var parameters: [String] = []
        for (name, value) in fields where value.isTruthy {
            let values = value.array ?? [value]
            for value in values where !value.isNull {
                parameters.append("\(Self.encoded(name))=\(Self.encoded(value.pythonText))")
            }
        }
        return parameters.joined(separator: "&")
    }

    private static func encoded(_ text: String) -> String { PercentEncoding.encoded(text, plusForSpace: true) }
}

extension JSON {
    /// As `str()` in Python; lists and dictionaries as JSON.
    fileprivate var pythonText: String {
        switch self {
        case .null: "None"
        case .bool(let value): value ? "True" : "False"
        case .string(let value): value
        case .double(let value) where value.isNaN: "nan"
        case .double(let value) where value.isInfinite: value > 0 ? "inf" : "-inf"
        case .int, .bigInteger, .double, .array, .object: String(buffer: self.encoded)
        }
    }
}
