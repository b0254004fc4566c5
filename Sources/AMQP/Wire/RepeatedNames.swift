import NIOCore

/// A short string that is the same in most frames: kept, so that not each frame allocates its own.
struct RepeatedName: Sendable {
    private var last = ""

    mutating func read(from reader: inout ByteBuffer) throws(AMQPError) -> String {
        // What Swift keeps inline is no allocation.
        guard let length = reader.getInteger(at: reader.readerIndex, as: UInt8.self).map(Int.init), length > 15,
            length == self.last.utf8.count, reader.readableBytes > length,
            self.isLast(reader, length)
        else {
            self.last = try reader.readShortString()
            return self.last
        }
        reader.moveReaderIndex(forwardBy: 1 + length)
        return self.last
    }

    private mutating func isLast(_ reader: ByteBuffer, _ length: Int) -> Bool {
        reader.withUnsafeReadableBytes { bytes in
            self.last.withUTF8 { $0.elementsEqual(UnsafeRawBufferPointer(rebasing: bytes[1...length])) }
        }
    }
}

/// The names that repeat from delivery to delivery.
struct RepeatedNames: Sendable {
    var consumerTag = RepeatedName()
    var exchange = RepeatedName()
    var routingKey = RepeatedName()
    var contentType = RepeatedName()
    var replyTo = RepeatedName()
}
