public import AMQP
public import JSON
import NIOCore

extension JSON {
    /// A field table as JSON. Bytes that are not text become text with replacement characters.
    public init(_ table: FieldTable) {
        var object = JSONObject()
        table.forEachField { name, value in object[String(buffer: name)] = JSON(value) }
        self = .object(object)
    }

    public init(_ value: FieldValue) {
        switch value {
        case .void: self = .null
        case .bool(let value): self = .bool(value)
        case .float(let value): self = .double(Double(value))
        case .double(let value): self = .double(value)
        case .decimal(let scale, let value): self = .string("\(value)E-\(scale)")
        case .longString(let bytes), .bytes(let bytes): self = .string(String(buffer: bytes))
        case .timestamp(let seconds): self = .string(ISO8601.format(EpochSeconds(seconds)))
        case .table(let table): self = JSON(table)
        case .array(let array):
            var elements: [JSON] = []
            array.forEachValue { elements.append(JSON($0)) }
            self = .array(elements)
        case .int8, .uint8, .int16, .uint16, .int32, .uint32, .int64:
            self = value.int.map(JSON.int) ?? .null
        }
    }
}
