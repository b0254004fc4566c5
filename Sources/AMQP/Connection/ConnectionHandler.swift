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
        if var unread = self.unread {
            unread.writeBuffer(&buffer)
            buffer = unread
            self.unread = nil
        }
        self.connection.assumeIsolated { $0.didRead() }
        do throws(AMQPError) {
            while let frame = try self.decoder.next(&buffer) { self.connection.assumeIsolated { $0.received(frame) } }
        } catch {
            self.hasFailed = true
            self.connection.assumeIsolated { $0.failed(error) }
        }
        if buffer.readableBytes > 0, !self.hasFailed { self.unread = buffer }
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
