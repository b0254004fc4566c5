import NIOCore

/// As much of Python's marshal format (version 2) as the tests need.
enum Marshal {
    case none
    case bool(Bool)
    case int(Int32)
    case string(String)
    case list([Marshal])
    case tuple([Marshal])
    case dictionary([(String, Marshal)])

    var buffer: ByteBuffer {
        var buffer = ByteBuffer()
        write(to: &buffer)
        return buffer
    }

    private func write(to buffer: inout ByteBuffer) {
        switch self {
        case .none: buffer.writeString("N")
        case .bool(let value): buffer.writeString(value ? "T" : "F")
        case .int(let value):
            buffer.writeString("i")
            buffer.writeInteger(value, endianness: .little)
        case .string(let text):
            buffer.writeString("u")
            buffer.writeInteger(UInt32(text.utf8.count), endianness: .little)
            buffer.writeString(text)
        case .list(let items), .tuple(let items):
            if case .list = self { buffer.writeString("[") } else { buffer.writeString("(") }
            buffer.writeInteger(UInt32(items.count), endianness: .little)
            for item in items { item.write(to: &buffer) }
        case .dictionary(let items):
            buffer.writeString("{")
            for (key, value) in items {
                Marshal.string(key).write(to: &buffer)
                value.write(to: &buffer)
            }
            buffer.writeString("0")
        }
    }
}
