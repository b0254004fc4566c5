import NIOCore

/// Reads a method's or a header's fields; what is missing is the peer's mistake.
extension ByteBuffer {
    private static func short(_ what: String) -> AMQPError { .syntax("a frame that ends within \(what)") }

    mutating func readUInt8() throws(AMQPError) -> UInt8 {
        guard let value = self.readInteger(as: UInt8.self) else { throw Self.short("an octet") }
        return value
    }

    mutating func readUInt16() throws(AMQPError) -> UInt16 {
        guard let value = self.readInteger(as: UInt16.self) else { throw Self.short("a short integer") }
        return value
    }

    mutating func readUInt32() throws(AMQPError) -> UInt32 {
        guard let value = self.readInteger(as: UInt32.self) else { throw Self.short("a long integer") }
        return value
    }

    mutating func readUInt64() throws(AMQPError) -> UInt64 {
        guard let value = self.readInteger(as: UInt64.self) else { throw Self.short("a long long integer") }
        return value
    }

    /// Text of at most 255 bytes. Bytes that are not UTF-8 are replaced, as a name that nobody can have chosen on purpose.
    mutating func readShortString() throws(AMQPError) -> String {
        guard let length = self.readInteger(as: UInt8.self), let text = self.readString(length: Int(length)) else {
            throw Self.short("a short string")
        }
        return text
    }

    mutating func readLongString() throws(AMQPError) -> ByteBuffer {
        guard let bytes = self.readLengthPrefixedSlice(as: UInt32.self) else { throw Self.short("a long string") }
        return bytes
    }

    mutating func readTable() throws(AMQPError) -> FieldTable {
        guard let bytes = self.readLengthPrefixedSlice(as: UInt32.self) else { throw Self.short("a table") }
        try FieldCoding.validateTable(bytes)
        return FieldTable(validated: bytes)
    }
}
