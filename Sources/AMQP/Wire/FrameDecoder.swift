import NIOCore

/// Cuts a stream of bytes into frames.
///
/// A frame is decoded on a slice of exactly its size, so that nothing in it can reach beyond its end.
struct FrameDecoder: Sendable {
    /// What a peer may send before a limit is agreed on (AMQP 0-9-1, 4.2.3: at least 4096; RabbitMQ's own limit for a handshake is this).
    static let initialFrameMax: UInt32 = 131_072

    /// The largest frame allowed, with its overhead, in bytes; 0 for no limit.
    var frameMax = Self.initialFrameMax
    private var names = RepeatedNames()

    /// The next frame, or `nil` while its bytes have not all come.
    mutating func next(_ buffer: inout ByteBuffer) throws(AMQPError) -> Frame? {
        let start = buffer.readerIndex
        guard let (type, channel, size) = buffer.getMultipleIntegers(at: start, as: (UInt8, UInt16, UInt32).self) else {
            return nil
        }
        guard let kind = Frame.Kind(rawValue: type) else {
            if try self.checkProtocolHeader(buffer) { return nil }
            throw .syntax("a frame of the unknown type \(type)")
        }
        guard self.frameMax == 0 || UInt64(size) + UInt64(Frame.overhead) <= UInt64(self.frameMax) else {
            throw .syntax("a frame of \(size) bytes, where \(Int(self.frameMax) - Frame.overhead) were agreed on")
        }
        let (length, overflow) = Int(size).addingReportingOverflow(Frame.overhead)
        guard !overflow, buffer.readableBytes >= length else { return nil }
        guard buffer.getInteger(at: start + length - 1, as: UInt8.self) == Frame.endOctet,
            let payload = buffer.getSlice(at: start + length - 1 - Int(size), length: Int(size))
        else {
            throw .syntax("a frame that does not end with 0xce")
        }
        buffer.moveReaderIndex(forwardBy: length)
        return try self.decode(kind, channel: channel, payload: payload)
    }

    /// How many bytes the frame takes that begins here, as far as its head has come.
    func expectedLength(_ buffer: ByteBuffer) -> Int? {
        buffer.getInteger(at: buffer.readerIndex + 3, as: UInt32.self).map { Int($0) + Frame.overhead }
    }

    private mutating func decode(_ kind: Frame.Kind, channel: UInt16, payload: ByteBuffer) throws(AMQPError) -> Frame {
        switch kind {
        case .method: return .method(channel: channel, try Method(decoding: payload, names: &self.names))
        case .body: return .body(channel: channel, payload)
        case .heartbeat:
            guard payload.readableBytes == 0 else { throw .syntax("a heartbeat with a payload") }
            return .heartbeat
        case .header:
            var reader = payload
            let classID = try reader.readUInt16()
            _ = try reader.readUInt16()
            let bodySize = try reader.readUInt64()
            guard classID == Frame.basicClassID else { throw .syntax("a content header of class \(classID)") }
            guard Int(exactly: bodySize) != nil else { throw .syntax("a body of \(bodySize) bytes") }
            let properties = try BasicProperties(reading: &reader, names: &self.names)
            guard reader.readableBytes == 0 else {
                throw .syntax("\(reader.readableBytes) bytes after the end of a content header")
            }
            return .header(channel: channel, Frame.ContentHeader(bodySize: bodySize, properties: properties))
        }
    }

    /// A server of another version answers with the protocol header that it expects (AMQP 0-9-1, 4.2.2).
    /// - Returns: whether this is the beginning of such a header.
    private func checkProtocolHeader(_ buffer: ByteBuffer) throws(AMQPError) -> Bool {
        guard let header = buffer.getBytes(at: buffer.readerIndex, length: 4), header == Array("AMQP".utf8) else {
            return false
        }
        guard let version = buffer.getBytes(at: buffer.readerIndex, length: 8)?.suffix(3) else { return true }
        let text = version.map(String.init).joined(separator: "-")
        throw AMQPError(.protocolViolation, "the server speaks AMQP \(text), where 0-9-1 was expected")
    }
}
