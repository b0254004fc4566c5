import NIOCore

/// A frame, which is what travels between client and broker (AMQP 0-9-1, 4.2.3).
enum Frame: Sendable, Equatable {
    case method(channel: UInt16, Method)
    case header(channel: UInt16, ContentHeader)
    case body(channel: UInt16, ByteBuffer)
    case heartbeat

    /// What comes before a message's body.
    struct ContentHeader: Sendable, Equatable {
        var bodySize: UInt64
        var properties: BasicProperties
    }

    enum Kind: UInt8 {
        case method = 1
        case header = 2
        case body = 3
        case heartbeat = 8
    }

    static let endOctet: UInt8 = 0xCE
    /// Type, channel and size before a payload, the end octet after it.
    static let overhead = 8
    static let basicClassID: UInt16 = 60

    func write(to buffer: inout ByteBuffer) {
        switch self {
        case .method(let channel, let method):
            Self.write(.method, channel: channel, to: &buffer) { method.write(to: &$0) }
        case .header(let channel, let header):
            Self.write(.header, channel: channel, to: &buffer) { payload in
                payload.writeMultipleIntegers(Self.basicClassID, UInt16(0), header.bodySize)
                header.properties.write(to: &payload)
            }
        case .body(let channel, let body):
            Self.write(.body, channel: channel, to: &buffer) { $0.writeImmutableBuffer(body) }
        case .heartbeat:
            Self.write(.heartbeat, channel: 0, to: &buffer) { _ in }
        }
    }

    private static func write(
        _ kind: Kind,
        channel: UInt16,
        to buffer: inout ByteBuffer,
        payload: (inout ByteBuffer) -> Void
    ) {
        buffer.writeInteger(kind.rawValue)
        buffer.writeInteger(channel)
        let sizeIndex = buffer.writerIndex
        buffer.writeInteger(UInt32(0))
        payload(&buffer)
        buffer.setInteger(UInt32(truncatingIfNeeded: buffer.writerIndex - sizeIndex - 4), at: sizeIndex)
        buffer.writeInteger(Self.endOctet)
    }

    /// The three kinds of frame that carry a message: how it is sent, its header, and its body in pieces of what a frame holds.
    static func writeMessage(
        channel: UInt16,
        method: Method,
        properties: BasicProperties,
        body: ByteBuffer,
        frameMax: UInt32,
        to buffer: inout ByteBuffer
    ) {
        Frame.method(channel: channel, method).write(to: &buffer)
        let header = ContentHeader(bodySize: UInt64(body.readableBytes), properties: properties)
        Frame.header(channel: channel, header).write(to: &buffer)
        var body = body
        let limit = frameMax == 0 ? Int.max : max(Int(frameMax) - Self.overhead, 1)
        while let piece = body.readSlice(length: min(limit, body.readableBytes)), piece.readableBytes > 0 {
            Frame.body(channel: channel, piece).write(to: &buffer)
        }
    }
}
