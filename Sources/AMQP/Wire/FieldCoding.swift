import NIOCore

/// Reads, checks and writes field values: a type byte, then the value (AMQP 0-9-1, 4.2.5.5, with the type bytes of RabbitMQ's errata).
enum FieldCoding {
    /// How deeply tables and arrays may nest.
    static let maximumDepth = 32

    /// Checks every field, so that reading them later can't fail.
    static func validateTable(_ bytes: ByteBuffer, depth: Int = 0) throws(AMQPError) {
        guard depth < Self.maximumDepth else {
            throw .syntax("a table nested more than \(Self.maximumDepth) levels deep")
        }
        var reader = bytes
        while let length = reader.readInteger(as: UInt8.self) {
            guard reader.readSlice(length: Int(length)) != nil else {
                throw .syntax("a field name beyond its table's end")
            }
            try Self.validateValue(in: &reader, depth: depth)
        }
    }

    private static func validateValue(in reader: inout ByteBuffer, depth: Int) throws(AMQPError) {
        guard let type = reader.readInteger(as: UInt8.self) else { throw .syntax("a field without a value") }
        switch type {
        case UInt8(ascii: "F"):
            guard let table = reader.readLengthPrefixedSlice(as: UInt32.self) else {
                throw .syntax("a table beyond its frame's end")
            }
            try Self.validateTable(table, depth: depth + 1)
        case UInt8(ascii: "A"):
            guard depth + 1 < Self.maximumDepth else {
                throw .syntax("an array nested more than \(Self.maximumDepth) levels deep")
            }
            guard var array = reader.readLengthPrefixedSlice(as: UInt32.self) else {
                throw .syntax("an array beyond its frame's end")
            }
            while array.readableBytes > 0 { try Self.validateValue(in: &array, depth: depth + 1) }
        default:
            guard let width = Self.width(of: type, in: reader) else {
                throw .syntax("an unknown field type 0x\(String(type, radix: 16))")
            }
            guard reader.readableBytes >= width else { throw .syntax("a field value beyond its table's end") }
            reader.moveReaderIndex(forwardBy: width)
        }
    }

    /// How many bytes a value of this type takes; `nil` for a type that doesn't exist.
    private static func width(of type: UInt8, in reader: ByteBuffer) -> Int? {
        switch type {
        case UInt8(ascii: "V"): 0
        case UInt8(ascii: "t"), UInt8(ascii: "b"), UInt8(ascii: "B"): 1
        case UInt8(ascii: "s"), UInt8(ascii: "u"), UInt8(ascii: "U"): 2
        case UInt8(ascii: "I"), UInt8(ascii: "i"), UInt8(ascii: "f"): 4
        case UInt8(ascii: "D"): 5
        case UInt8(ascii: "l"), UInt8(ascii: "L"), UInt8(ascii: "d"), UInt8(ascii: "T"): 8
        case UInt8(ascii: "S"), UInt8(ascii: "x"), UInt8(ascii: "F"), UInt8(ascii: "A"):
            4 + Int(reader.getInteger(at: reader.readerIndex, as: UInt32.self) ?? .max)
        default: nil
        }
    }

    /// Moves past one value.
    static func skip(in reader: inout ByteBuffer) -> Bool {
        guard let type = reader.readInteger(as: UInt8.self), let width = Self.width(of: type, in: reader),
            reader.readableBytes >= width
        else { return false }
        reader.moveReaderIndex(forwardBy: width)
        return true
    }

    static func read(from reader: inout ByteBuffer) -> FieldValue? {
        guard let type = reader.readInteger(as: UInt8.self) else { return nil }
        switch type {
        case UInt8(ascii: "S"): return reader.readLengthPrefixedSlice(as: UInt32.self).map(FieldValue.longString)
        case UInt8(ascii: "V"): return .void
        case UInt8(ascii: "I"), UInt8(ascii: "i"):
            // RabbitMQ's `I` is signed; `i` is the unsigned one.
            return type == UInt8(ascii: "I")
                ? reader.readInteger(as: Int32.self).map(FieldValue.int32)
                : reader.readInteger(as: UInt32.self).map(FieldValue.uint32)
        case UInt8(ascii: "F"):
            return reader.readLengthPrefixedSlice(as: UInt32.self).map { .table(FieldTable(validated: $0)) }
        case UInt8(ascii: "A"):
            return reader.readLengthPrefixedSlice(as: UInt32.self).map { .array(FieldArray(validated: $0)) }
        case UInt8(ascii: "t"): return reader.readInteger(as: UInt8.self).map { .bool($0 != 0) }
        case UInt8(ascii: "l"), UInt8(ascii: "L"): return reader.readInteger(as: Int64.self).map(FieldValue.int64)
        case UInt8(ascii: "d"): return reader.readInteger(as: UInt64.self).map { .double(Double(bitPattern: $0)) }
        case UInt8(ascii: "f"): return reader.readInteger(as: UInt32.self).map { .float(Float(bitPattern: $0)) }
        case UInt8(ascii: "T"): return reader.readInteger(as: UInt64.self).map(FieldValue.timestamp)
        case UInt8(ascii: "b"): return reader.readInteger(as: Int8.self).map(FieldValue.int8)
        case UInt8(ascii: "B"): return reader.readInteger(as: UInt8.self).map(FieldValue.uint8)
        case UInt8(ascii: "s"), UInt8(ascii: "U"): return reader.readInteger(as: Int16.self).map(FieldValue.int16)
        case UInt8(ascii: "u"): return reader.readInteger(as: UInt16.self).map(FieldValue.uint16)
        case UInt8(ascii: "x"): return reader.readLengthPrefixedSlice(as: UInt32.self).map(FieldValue.bytes)
        case UInt8(ascii: "D"):
            guard let (scale, value) = reader.readMultipleIntegers(as: (UInt8, Int32).self) else { return nil }
            return .decimal(scale: scale, value: value)
        default: return nil
        }
    }

    static func write(_ value: FieldValue, to buffer: inout ByteBuffer) {
        func type(_ scalar: Unicode.Scalar) { buffer.writeInteger(UInt8(ascii: scalar)) }
        switch value {
        case .void: type("V")
        case .bool(let value):
            type("t")
            buffer.writeInteger(UInt8(value ? 1 : 0))
        case .int8(let value):
            type("b")
            buffer.writeInteger(value)
        case .uint8(let value):
            type("B")
            buffer.writeInteger(value)
        case .int16(let value):
            type("s")
            buffer.writeInteger(value)
        case .uint16(let value):
            type("u")
            buffer.writeInteger(value)
        case .int32(let value):
            type("I")
            buffer.writeInteger(value)
        case .uint32(let value):
            type("i")
            buffer.writeInteger(value)
        case .int64(let value):
            type("l")
            buffer.writeInteger(value)
        case .float(let value):
            type("f")
            buffer.writeInteger(value.bitPattern)
        case .double(let value):
            type("d")
            buffer.writeInteger(value.bitPattern)
        case .decimal(let scale, let value):
            type("D")
            buffer.writeInteger(scale)
            buffer.writeInteger(value)
        case .longString(let bytes):
            type("S")
            buffer.writeLongString(bytes)
        case .bytes(let bytes):
            type("x")
            buffer.writeLongString(bytes)
        case .array(let array):
            type("A")
            buffer.writeLongString(array.encoded)
        case .timestamp(let seconds):
            type("T")
            buffer.writeInteger(seconds)
        case .table(let table):
            type("F")
            buffer.writeLongString(table.encoded)
        }
    }
}
