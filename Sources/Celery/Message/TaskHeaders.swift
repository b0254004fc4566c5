import AMQP

/// What a worker reads of a message's headers for itself, taken from the table in one pass. The first field of a name counts.
struct TaskHeaders {
    /// A value, as far as it can be one that is expected.
    enum Value: Equatable {
        case absent
        case null
        case text(String)
        case timestamp(UInt64)
        /// None of these: what kind of value it is, in words.
        case other(String)

        /// What kind of value this is, for messages that say what was found.
        var kind: String {
            switch self {
            case .absent: "absent"
            case .null: "null"
            case .text: "a string"
            case .timestamp: "a time"
            case .other(let kind): kind
            }
        }
    }

    enum TimeLimit {
        case none
        case limits(hard: Double?, soft: Double?)
        /// It holds a value that is no number.
        case element(kind: String)
        /// It is an array of another length than two.
        case length(Int)
        case other(kind: String)
    }

    var task = Value.absent
    var id = Value.absent
    var eta = Value.absent
    var expires = Value.absent
    var retries: Int64 = 0
    var timeLimit = TimeLimit.none

    init(_ table: FieldTable?) {
        table?.withRawFields { fields in
            var fields = fields
            var hasRetries = false
            var hasTimeLimit = false
            while let name = fields.nextName(), let value = fields.nextValue() {
                switch name.count {
                case 2 where name == "id" && self.id == .absent: self.id = Value(value)
                case 3 where name == "eta" && self.eta == .absent: self.eta = Value(value)
                case 4 where name == "task" && self.task == .absent: self.task = Value(value)
                case 7 where name == "expires" && self.expires == .absent: self.expires = Value(value)
                case 7 where name == "retries" && !hasRetries:
                    hasRetries = true
                    if case .int(let count) = value { self.retries = count }
                case 9 where name == "timelimit" && !hasTimeLimit:
                    hasTimeLimit = true
                    self.timeLimit = TimeLimit(value)
                default: break
                }
            }
        }
    }
}

extension TaskHeaders.Value {
    init(_ value: RawFieldValue) {
        switch value {
        case .void: self = .null
        case .timestamp(let seconds): self = .timestamp(seconds)
        case .longString(let bytes):
            self = String(validating: bytes, as: UTF8.self).map(Self.text) ?? .other(value.kind)
        default: self = .other(value.kind)
        }
    }
}

extension TaskHeaders.TimeLimit {
    init(_ value: RawFieldValue) {
        switch value {
        case .void: self = .none
        case .array(var values):
            var limits: (Double?, Double?) = (nil, nil)
            var problem: String?
            var count = 0
            while let element = values.nextValue() {
                var limit: Double?
                switch element {
                case .void: break
                case .int(let number): limit = Double(number)
                case .double(let number): limit = number
                default: problem = element.kind
                }
                if count == 0 { limits.0 = limit } else { limits.1 = limit }
                count += 1
            }
            if let problem {
                self = .element(kind: problem)
            } else {
                self = count == 0 ? .none : count == 2 ? .limits(hard: limits.0, soft: limits.1) : .length(count)
            }
        default: self = .other(kind: value.kind)
        }
    }
}

extension RawFieldValue {
    /// What kind of value this is, for messages that say what was found.
    var kind: String {
        switch self {
        case .bool: "a boolean"
        case .int: "an integer"
        case .double, .decimal: "a number"
        case .longString: "a string"
        case .bytes: "bytes"
        case .array: "an array"
        case .timestamp: "a time"
        case .table: "a table"
        case .void: "null"
        }
    }
}

extension UnsafeRawBufferPointer {
    /// Whether these are the bytes of `text`.
    static func == (bytes: Self, text: StaticString) -> Bool {
        text.withUTF8Buffer { bytes.count == $0.count && bytes.elementsEqual($0) }
    }
}
