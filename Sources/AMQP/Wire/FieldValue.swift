public import NIOCore

/// A value in a field table, as RabbitMQ and Celery's clients write them (AMQP 0-9-1 errata, "Table fields").
public enum FieldValue: Sendable, Equatable {
    case bool(Bool)
    case int8(Int8)
    case uint8(UInt8)
    case int16(Int16)
    case uint16(UInt16)
    case int32(Int32)
    case uint32(UInt32)
    case int64(Int64)
    case float(Float)
    case double(Double)
    /// `value` divided by ten to the power of `scale`.
    case decimal(scale: UInt8, value: Int32)
    /// Text as a rule, but any bytes may come.
    case longString(ByteBuffer)
    /// Bytes that are not meant as text (`x`).
    case bytes(ByteBuffer)
    case array(FieldArray)
    /// Seconds since 1970.
    case timestamp(UInt64)
    case table(FieldTable)
    case void
}

extension FieldValue {
    /// Text.
    public static func string(_ text: String) -> FieldValue { .longString(ByteBuffer(string: text)) }

    /// The text of a long string; `nil` where this is another kind of value, or bytes that are not UTF-8.
    public var string: String? {
        guard case .longString(let bytes) = self else { return nil }
        return bytes.withUnsafeReadableBytes { String(validating: $0, as: UTF8.self) }
    }

    /// The value of an integer of any width.
    public var int: Int64? {
        switch self {
        case .int8(let value): Int64(value)
        case .uint8(let value): Int64(value)
        case .int16(let value): Int64(value)
        case .uint16(let value): Int64(value)
        case .int32(let value): Int64(value)
        case .uint32(let value): Int64(value)
        case .int64(let value): value
        default: nil
        }
    }

    public var bool: Bool? {
        guard case .bool(let value) = self else { return nil }
        return value
    }
}
