import NIOCore

/// The fields of a table, or the values of an array, where they lie in memory: to read them copies and retains nothing.
///
/// Valid only within the call of ``FieldTable/withRawFields(_:)`` that hands it out, as all that is read from it.
public struct RawFields {
    private var position: UnsafeRawPointer?
    private var remaining: Int

    init(_ bytes: UnsafeRawBufferPointer) {
        self.position = bytes.baseAddress
        self.remaining = bytes.count
    }

    /// Bytes that are still to be read.
    var count: Int { self.remaining }

    /// The name of a table's next field; its value is the next to be read.
    public mutating func nextName() -> UnsafeRawBufferPointer? {
        guard let length = self.take(1)?.load(as: UInt8.self) else { return nil }
        return self.takeBytes(Int(length))
    }

    /// The next value. `nil` at the end.
    public mutating func nextValue() -> RawFieldValue? {
        guard let type = self.take(1)?.load(as: UInt8.self) else { return nil }
        switch type {
        case UInt8(ascii: "S"): return self.takeLongBytes().map(RawFieldValue.longString)
        case UInt8(ascii: "V"): return .void
        case UInt8(ascii: "I"): return self.integer(Int32.self)
        case UInt8(ascii: "i"): return self.integer(UInt32.self)
        case UInt8(ascii: "F"): return self.takeLongBytes().map { .table(RawFields($0)) }
        case UInt8(ascii: "A"): return self.takeLongBytes().map { .array(RawFields($0)) }
        case UInt8(ascii: "t"): return self.number(UInt8.self).map { .bool($0 != 0) }
        case UInt8(ascii: "l"), UInt8(ascii: "L"): return self.integer(Int64.self)
        case UInt8(ascii: "d"): return self.number(UInt64.self).map { .double(Double(bitPattern: $0)) }
        case UInt8(ascii: "f"): return self.number(UInt32.self).map { .double(Double(Float(bitPattern: $0))) }
        case UInt8(ascii: "T"): return self.number(UInt64.self).map(RawFieldValue.timestamp)
        case UInt8(ascii: "b"): return self.integer(Int8.self)
        case UInt8(ascii: "B"): return self.integer(UInt8.self)
        case UInt8(ascii: "s"), UInt8(ascii: "U"): return self.integer(Int16.self)
        case UInt8(ascii: "u"): return self.integer(UInt16.self)
        case UInt8(ascii: "x"): return self.takeLongBytes().map(RawFieldValue.bytes)
        case UInt8(ascii: "D"):
            guard let scale = self.number(UInt8.self), let value = self.number(Int32.self) else { return nil }
            return .decimal(scale: scale, value: value)
        default: return nil
        }
    }

    private mutating func integer(_ type: (some FixedWidthInteger).Type) -> RawFieldValue? {
        self.number(type).map { .int(Int64($0)) }
    }

    private mutating func number<Number: FixedWidthInteger>(_ type: Number.Type) -> Number? {
        self.take(MemoryLayout<Number>.size).map { Number(bigEndian: $0.loadUnaligned(as: type)) }
    }

    private mutating func takeLongBytes() -> UnsafeRawBufferPointer? {
        self.number(UInt32.self).flatMap { self.takeBytes(Int($0)) }
    }

    private mutating func takeBytes(_ count: Int) -> UnsafeRawBufferPointer? {
        self.take(count).map { UnsafeRawBufferPointer(start: $0, count: count) }
    }

    private mutating func take(_ count: Int) -> UnsafeRawPointer? {
        guard count <= self.remaining, let start = self.position else { return nil }
        self.position = start + count
        self.remaining -= count
        return start
    }
}

/// A value of ``RawFields``.
public enum RawFieldValue {
    case bool(Bool)
    /// An integer of any width.
    case int(Int64)
    /// A float or a double.
    case double(Double)
    /// `value` divided by ten to the power of `scale`.
    case decimal(scale: UInt8, value: Int32)
    /// Text as a rule, but any bytes may come.
    case longString(UnsafeRawBufferPointer)
    /// Bytes that are not meant as text (`x`).
    case bytes(UnsafeRawBufferPointer)
    case array(RawFields)
    /// Seconds since 1970.
    case timestamp(UInt64)
    case table(RawFields)
    case void
}

extension FieldTable {
    /// Calls `body` with the fields in the order of the wire.
    public func withRawFields<Result>(_ body: (RawFields) throws -> Result) rethrows -> Result {
        try self.encoded.withUnsafeReadableBytes { try body(RawFields($0)) }
    }
}
