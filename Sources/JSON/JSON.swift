/// A JSON value as Python's `json` module reads and writes it.
///
/// Python's dialect is wider than RFC 8259: `NaN`, `Infinity` and `-Infinity` are numbers, integers have any number of digits, and
/// an escaped surrogate may stand alone. All of these are accepted; a lone surrogate becomes U+FFFD, since a Swift string
/// can't hold it.
public enum JSON: Sendable, Equatable {
    case null
    case bool(Bool)
    case int(Int64)
    /// An integer that `Int64` can't hold, as its decimal digits with an optional minus sign.
    case bigInteger(String)
    case double(Double)
    case string(String)
    case array([JSON])
    case object(JSONObject)
}

extension JSON: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByStringLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(nilLiteral: ()) { self = .null }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int64) { self = .int(value) }
    public init(floatLiteral value: Double) { self = .double(value) }
    public init(stringLiteral value: String) { self = .string(value) }
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSON)...) { self = .object(JSONObject(elements)) }
}

extension JSON {
    public init(_ value: String?) { self = value.map(JSON.string) ?? .null }
    public init(_ value: Double?) { self = value.map(JSON.double) ?? .null }
    public init(_ value: Int?) { self = value.map { .int(Int64($0)) } ?? .null }

    /// The member of an object; `nil` where this is no object or has no such member.
    public subscript(key: String) -> JSON? {
        guard case .object(let object) = self else { return nil }
        return object[key]
    }

    /// Whether Python takes it for true, as `bool()` tells.
    public var isTruthy: Bool {
        switch self {
        case .null: false
        case .bool(let value): value
        case .int(let value): value != 0
        case .bigInteger: true
        case .double(let value): value != 0
        case .string(let value): !value.isEmpty
        case .array(let elements): !elements.isEmpty
        case .object(let object): !object.isEmpty
        }
    }

    public var isNull: Bool { self == .null }

    public var bool: Bool? {
        guard case .bool(let value) = self else { return nil }
        return value
    }

    public var int: Int? {
        guard case .int(let value) = self else { return nil }
        return Int(exactly: value)
    }

    /// A number of either kind.
    public var double: Double? {
        switch self {
        case .double(let value): value
        case .int(let value): Double(value)
        case .bigInteger(let digits): Double(digits)
        default: nil
        }
    }

    public var string: String? {
        guard case .string(let value) = self else { return nil }
        return value
    }

    public var array: [JSON]? {
        guard case .array(let value) = self else { return nil }
        return value
    }

    public var object: JSONObject? {
        guard case .object(let value) = self else { return nil }
        return value
    }

    /// What kind of value this is, in JSON's own words, for messages that say what was found.
    public var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .int, .bigInteger, .double: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

/// The members of a JSON object in the order in which they were written; a later duplicate replaces an earlier one, as in Python.
public struct JSONObject: Sendable, Equatable, ExpressibleByDictionaryLiteral, Sequence {
    public private(set) var members: [(key: String, value: JSON)]
    /// Positions by key, kept once an object is too large for a scan to be the faster way.
    private var positions: [String: Int]?

    private static let scanLimit = 16

    public init() { self.members = [] }

    public init(_ members: some Sequence<(String, JSON)>) {
        self.init()
        for (key, value) in members { self[key] = value }
    }

    public init(dictionaryLiteral elements: (String, JSON)...) { self.init(elements) }

    public var isEmpty: Bool { self.members.isEmpty }
    public var count: Int { self.members.count }

    public subscript(key: String) -> JSON? {
        get { self.position(of: key).map { self.members[$0].value } }
        set {
            switch (self.position(of: key), newValue) {
            case (let position?, let value?):
                self.members[position].value = value
            case (let position?, nil):
                self.members.remove(at: position)
                self.positions = nil
                self.indexIfLarge()
            case (nil, let value?):
                self.members.append((key, value))
                if self.positions != nil { self.positions?[key] = self.members.count - 1 } else { self.indexIfLarge() }
            case (nil, nil):
                break
            }
        }
    }

    public func makeIterator() -> IndexingIterator<[(key: String, value: JSON)]> { self.members.makeIterator() }

    public static func == (left: JSONObject, right: JSONObject) -> Bool {
        left.count == right.count && left.members.allSatisfy { right[$0.key] == $0.value }
    }

    private func position(of key: String) -> Int? {
        if let positions { return positions[key] }
        return self.members.firstIndex { $0.key == key }
    }

    private mutating func indexIfLarge() {
        guard self.members.count > Self.scanLimit else { return }
        self.positions = Dictionary(
            uniqueKeysWithValues: self.members.enumerated().map { ($0.element.key, $0.offset) }
        )
    }
}
