import NIOCore
import NIOSSL

/// Between the socket and its connection: cuts bytes into frames, and tells of the socket's end.
final class ConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let connection: AMQPConnection
    private var decoder = FrameDecoder()
    private var unread: ByteBuffer?
    private var hasFailed = false
    private var cause: AMQPError?

    init(connection: AMQPConnection) { self.connection = connection }

    func handlerAdded(context: ChannelHandlerContext) {
        let isActive = context.channel.isActive
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        self.connection.assumeIsolated { connection in
            connection.observeTune { frameMax in handler.value.decoder.frameMax = frameMax }
            if isActive { connection.start() }
        }
    }

    func channelActive(context: ChannelHandlerContext) {
        self.connection.assumeIsolated { $0.start() }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.hasFailed else { return }
        var buffer = self.unwrapInboundIn(data)
        var wasUnread = false
        if var unread = self.unread.take() {
            wasUnread = true
            // Sole owner of its bytes, so this appends in place.
            unread.writeBuffer(&buffer)
            buffer = unread
        }
        self.connection.assumeIsolated { $0.didRead() }
        let start = buffer.readerIndex
        do throws(AMQPError) {
            while let frame = try self.decoder.next(&buffer) { self.connection.assumeIsolated { $0.received(frame) } }
        } catch {
            self.hasFailed = true
            self.connection.assumeIsolated { $0.failed(error) }
        }
        guard buffer.readableBytes > 0, !self.hasFailed else { return }
        self.unread = wasUnread && buffer.readerIndex == start ? buffer : self.copy(buffer, context.channel.allocator)
    }

    /// The beginning of a frame, in a buffer of its own with room for the rest: messages may still hold slices of the one that it came in, and
    /// appending to that would copy all of it.
    private func copy(_ beginning: ByteBuffer, _ allocator: ByteBufferAllocator) -> ByteBuffer {
        let expected = self.decoder.expectedLength(beginning) ?? 0
        var copy = allocator.buffer(capacity: max(beginning.readableBytes, min(expected, Self.reservedCapacity)))
        copy.writeImmutableBuffer(beginning)
        return copy
    }

    /// A frame's word alone reserves no more than this.
    private static let reservedCapacity = 1 << 20

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { self.connection.assumeIsolated { $0.acceptanceChanged() } }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.cause =
            error is NIOSSLError || error is BoringSSLError || error is NIOSSLExtraError
            ? AMQPError(.tls, "\(error)") : AMQPError(.connectionLost, "\(error)")
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        let cause = self.cause
        self.connection.assumeIsolated { $0.disconnected(cause) }
        context.fireChannelInactive()
    }
}
