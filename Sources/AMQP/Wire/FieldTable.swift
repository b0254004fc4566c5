public import NIOCore

/// Named values, kept as the bytes that came, and decoded when they are asked for.
///
/// The bytes are checked once, when the frame that holds them is decoded, so reading can't fail.
public struct FieldTable: Sendable, Equatable, ExpressibleByDictionaryLiteral {
    /// The fields without the length that stands before them on the wire.
    public private(set) var encoded: ByteBuffer

    public init() { self.encoded = ByteBuffer() }

    public init(dictionaryLiteral elements: (String, FieldValue)...) {
        self.init()
        for (name, value) in elements { self.append(name, value) }
    }

    /// Takes bytes that ``FieldCoding/validateTable(_:depth:)`` has accepted.
    init(validated: ByteBuffer) { self.encoded = validated }

    /// The same fields in memory of their own, not in the buffer that they were read into.
    public init(copying table: FieldTable) { self.encoded = ByteBuffer(bytes: table.encoded.readableBytesView) }

    public var isEmpty: Bool { self.encoded.readableBytes == 0 }

    /// The first field of this name.
    public subscript(name: String) -> FieldValue? {
        var name = name
        let offset = self.encoded.withUnsafeReadableBytes { bytes in
            name.withUTF8 { name in
                var fields = RawFields(bytes)
                while let field = fields.nextName() {
                    if field.count == name.count, field.elementsEqual(name) { return bytes.count - fields.count }
                    guard fields.nextValue() != nil else { break }
                }
                return bytes.count
            }
        }
        var reader = self.encoded
        reader.moveReaderIndex(forwardBy: offset)
        return FieldCoding.read(from: &reader)
    }

    /// Calls `body` with each field, in the order of the wire. Names and texts are slices, not copies.
    public func forEachField(_ body: (_ name: ByteBuffer, _ value: FieldValue) throws -> Void) rethrows {
        var reader = self.encoded
        while let length = reader.readInteger(as: UInt8.self), let name = reader.readSlice(length: Int(length)),
            let value = FieldCoding.read(from: &reader)
        {
            try body(name, value)
        }
    }

    /// Removes all fields of these names; the others stay byte for byte.
    public mutating func remove(_ names: String...) {
        var kept = ByteBuffer()
        var reader = self.encoded
        while reader.readableBytes > 0 {
            let start = reader.readerIndex
            guard let length = reader.readInteger(as: UInt8.self), let name = reader.readSlice(length: Int(length)),
                FieldCoding.skip(in: &reader)
            else { break }
            guard !names.contains(where: { name.hasSameBytes(as: $0) }) else { continue }
            if let field = self.encoded.getSlice(at: start, length: reader.readerIndex - start) {
                kept.writeImmutableBuffer(field)
            }
        }
        self.encoded = kept
    }

    /// Appends a field. A name longer than a short string holds (255 bytes) is cut.
    public mutating func append(_ name: String, _ value: FieldValue) {
        self.encoded.writeShortString(name)
        FieldCoding.write(value, to: &self.encoded)
    }
}

/// Values in a row, kept as the bytes that came.
public struct FieldArray: Sendable, Equatable, ExpressibleByArrayLiteral {
    /// The values without the length that stands before them on the wire.
    public private(set) var encoded: ByteBuffer

    public init() { self.encoded = ByteBuffer() }

    public init(arrayLiteral elements: FieldValue...) {
        self.init()
        for element in elements { self.append(element) }
    }

    init(validated: ByteBuffer) { self.encoded = validated }

    public func forEachValue(_ body: (FieldValue) throws -> Void) rethrows {
        var reader = self.encoded
        while reader.readableBytes > 0, let value = FieldCoding.read(from: &reader) { try body(value) }
    }

    public mutating func append(_ value: FieldValue) { FieldCoding.write(value, to: &self.encoded) }
}

extension ByteBuffer {
    func hasSameBytes(as text: String) -> Bool {
        guard self.readableBytes == text.utf8.count else { return false }
        return self.withUnsafeReadableBytes { $0.elementsEqual(text.utf8) }
    }

    /// A short string holds 255 bytes; more are cut at a character's boundary.
    mutating func writeShortString(_ text: String) {
        guard let length = UInt8(exactly: text.utf8.count) else {
            var cut = Substring(text)
            while cut.utf8.count > Int(UInt8.max) { cut.removeLast() }
            self.writeInteger(UInt8(truncatingIfNeeded: cut.utf8.count))
            self.writeSubstring(cut)
            return
        }
        self.writeInteger(length)
        self.writeString(text)
    }

    mutating func writeLongString(_ bytes: ByteBuffer) {
        self.writeInteger(UInt32(truncatingIfNeeded: bytes.readableBytes))
        self.writeImmutableBuffer(bytes)
    }
}
