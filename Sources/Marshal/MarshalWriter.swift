public import NIOCore

/// Writes values in Python's `marshal` format, version 4 without references, which every Python from 3.4 on reads.
///
/// A task's headers go to the Python worker in this form, since `marshal.loads` gives a dictionary in half the time that `json.loads`
/// takes, and knows bytes. The format is that of CPython's `Python/marshal.c`: a type byte, then the value, little-endian.
/// The caller closes each dictionary that it opens and writes its keys and values in turn.
public struct MarshalWriter: Sendable {
    @usableFromInline var written: ByteBuffer

    /// What has been written.
    @inlinable
    public var buffer: ByteBuffer { self.written }

    @inlinable
    public init(_ buffer: ByteBuffer = ByteBuffer()) {
        self.written = buffer
    }

    @inlinable
    public mutating func openDictionary() { self.type("{") }
    @inlinable
    public mutating func closeDictionary() { self.type("0") }

    @inlinable
    public mutating func openList(count: Int) { self.type("[", UInt32(truncatingIfNeeded: count)) }

    /// Opens a list whose number of elements ``closeList(_:count:)`` tells.
    /// - Returns: the list, for that call.
    @inlinable
    public mutating func openList() -> Int {
        self.openList(count: 0)
        return self.written.writerIndex - MemoryLayout<UInt32>.size
    }

    @inlinable
    public mutating func closeList(_ list: Int, count: Int) {
        self.written.setInteger(UInt32(truncatingIfNeeded: count), at: list, endianness: .little)
    }

    @inlinable
    public mutating func openTuple(count: Int) { self.type("(", UInt32(truncatingIfNeeded: count)) }

    @inlinable
    public mutating func none() { self.type("N") }

    @inlinable
    public mutating func bool(_ value: Bool) { self.type(value ? "T" : "F") }

    @inlinable
    public mutating func int(_ value: Int64) {
        if let small = Int32(exactly: value) {
            return self.type("i", UInt32(bitPattern: small))
        }
        // Digits of 15 bits, the least significant first; the sign is that of their count.
        var digits: [UInt16] = []
        var magnitude = value.magnitude
        while magnitude > 0 {
            digits.append(UInt16(magnitude & 0x7FFF))
            magnitude >>= 15
        }
        let count = Int32(digits.count)
        self.type("l", UInt32(bitPattern: value < 0 ? -count : count))
        for digit in digits { self.written.writeInteger(digit, endianness: .little) }
    }

    @inlinable
    public mutating func double(_ value: Double) {
        self.type("g")
        self.written.writeInteger(value.bitPattern, endianness: .little)
    }

    /// A `bytes` object.
    @inlinable
    public mutating func bytes(_ value: ByteBuffer) {
        value.withUnsafeReadableBytes { self.bytes($0) }
    }

    /// A `bytes` object, from memory that is another's.
    @inlinable
    public mutating func bytes(_ value: UnsafeRawBufferPointer) {
        self.type("s", UInt32(truncatingIfNeeded: value.count))
        self.written.writeBytes(value)
    }

    @inlinable
    public mutating func string(_ value: StaticString) {
        value.withUTF8Buffer { bytes in
            guard value.isASCII, let length = UInt8(exactly: bytes.count) else {
                return self.text(UnsafeRawBufferPointer(bytes))
            }
            self.short(UnsafeRawBufferPointer(bytes), length)
        }
    }

    @inlinable
    public mutating func string(_ value: String) {
        var value = value
        value.withUTF8 { self.text(UnsafeRawBufferPointer($0)) }
    }

    /// A `str` where the bytes are UTF-8, else a `bytes` object, so that no peer's text makes the worker's decoder fail.
    @inlinable
    public mutating func text(_ value: ByteBuffer) {
        value.withUnsafeReadableBytes { self.text($0) }
    }

    /// As the other `text`, from memory that is another's.
    @inlinable
    public mutating func text(_ value: UnsafeRawBufferPointer) {
        let isASCII = value.isASCII
        if isASCII, let length = UInt8(exactly: value.count) { return self.short(value, length) }
        let isText = isASCII || String(validating: value, as: UTF8.self) != nil
        self.type(isASCII ? "a" : isText ? "u" : "s", UInt32(truncatingIfNeeded: value.count))
        self.written.writeBytes(value)
    }

    /// Nearly all text of a message is of this kind, so it goes out in one piece.
    @inlinable
    mutating func short(_ value: UnsafeRawBufferPointer, _ length: UInt8) {
        self.written.writeWithUnsafeMutableBytes(minimumWritableBytes: 2 + value.count) { target in
            target[0] = UInt8(ascii: "z")
            target[1] = length
            UnsafeMutableRawBufferPointer(rebasing: target[2...]).copyMemory(from: value)
            return 2 + value.count
        }
    }

    @inlinable
    mutating func type(_ type: Unicode.Scalar) { self.written.writeInteger(UInt8(ascii: type)) }

    @inlinable
    mutating func type(_ type: Unicode.Scalar, _ value: UInt32) {
        self.written.writeWithUnsafeMutableBytes(minimumWritableBytes: 5) { target in
            target[0] = UInt8(ascii: type)
            target.storeBytes(of: value.littleEndian, toByteOffset: 1, as: UInt32.self)
            return 5
        }
    }
}

extension UnsafeRawBufferPointer {
    /// Looks at eight bytes at a time.
    @inlinable
    var isASCII: Bool {
        var offset = 0
        while offset + 8 <= self.count {
            if self.loadUnaligned(fromByteOffset: offset, as: UInt64.self) & 0x8080_8080_8080_8080 != 0 { return false }
            offset += 8
        }
        while offset < self.count {
            if self[offset] >= 0x80 { return false }
            offset += 1
        }
        return true
    }
}
