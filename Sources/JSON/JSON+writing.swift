public import NIOCore

extension JSON {
    /// Appends this value to `buffer` as Python's `json.dumps` writes it by default: ASCII only, `", "` and `": "` between.
    public func write(to buffer: inout ByteBuffer) {
        switch self {
        case .null: buffer.writeStaticString("null")
        case .bool(let value): buffer.writeStaticString(value ? "true" : "false")
        case .int(let value): buffer.writeString(String(value))
        case .bigInteger(let digits): buffer.writeString(digits)
        case .double(let value): Self.write(value, to: &buffer)
        case .string(let value): Self.write(value, to: &buffer)
        case .array(let elements):
            buffer.writeStaticString("[")
            var isFirst = true
            for element in elements {
                if !isFirst { buffer.writeStaticString(", ") }
                isFirst = false
                element.write(to: &buffer)
            }
            buffer.writeStaticString("]")
        case .object(let object):
            buffer.writeStaticString("{")
            var isFirst = true
            for (key, value) in object {
                if !isFirst { buffer.writeStaticString(", ") }
                isFirst = false
                Self.write(key, to: &buffer)
                buffer.writeStaticString(": ")
                value.write(to: &buffer)
            }
            buffer.writeStaticString("}")
        }
    }

    /// This value as text in a buffer of its own.
    public var encoded: ByteBuffer {
        var buffer = ByteBuffer()
        self.write(to: &buffer)
        return buffer
    }

    /// Appends a number as Python writes a float.
    public static func write(_ value: Double, to buffer: inout ByteBuffer) {
        if value.isNaN {
            buffer.writeStaticString("NaN")
        } else if value.isInfinite {
            buffer.writeStaticString(value < 0 ? "-Infinity" : "Infinity")
        } else {
            buffer.writeString(value.description)
        }
    }

    /// Appends text in double quotes, all beyond ASCII escaped.
    public static func write(_ text: String, to buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt8(ascii: "\""))
        let isPlain = text.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C }
        if isPlain {
            buffer.writeString(text)
        } else {
            for unit in text.utf16 { Self.writeEscaped(unit, to: &buffer) }
        }
        buffer.writeInteger(UInt8(ascii: "\""))
    }

    private static func writeEscaped(_ unit: UInt16, to buffer: inout ByteBuffer) {
        switch unit {
        case 0x22: buffer.writeStaticString("\\\"")
        case 0x5C: buffer.writeStaticString("\\\\")
        case 0x0A: buffer.writeStaticString("\\n")
        case 0x0D: buffer.writeStaticString("\\r")
        case 0x09: buffer.writeStaticString("\\t")
        case 0x08: buffer.writeStaticString("\\b")
        case 0x0C: buffer.writeStaticString("\\f")
        case 0x20..<0x7F: buffer.writeInteger(UInt8(truncatingIfNeeded: unit))
        default:
            let digits = String(unit, radix: 16)
            buffer.writeStaticString("\\u")
            for _ in digits.utf8.count..<4 { buffer.writeStaticString("0") }
            buffer.writeString(digits)
        }
    }
}

extension JSON: CustomStringConvertible {
    public var description: String { String(buffer: self.encoded) }
}
