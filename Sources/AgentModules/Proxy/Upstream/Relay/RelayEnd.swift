import NIOCore
import NIOTLS

/// Tells a relay's connection what happens to one of its two channels.
final class RelayEnd: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer

    enum Side { case client, upstream }

    private let side: Side
    /// Until the channel is closed.
    private var connection: RelayConnection?

    init(_ side: Side, of connection: RelayConnection) {
        self.side = side
        self.connection = connection
    }

    /// `nil` where the channel is an upstream that has been given up, or not chosen yet.
    private func connection(_ context: ChannelHandlerContext) -> RelayConnection? {
        guard let connection, self.side == .client || connection.isUpstream(context.channel) else { return nil }
        return connection
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.connection(context)?.received(self.unwrapInboundIn(data), from: self.side)
    }

    func channelReadComplete(context: ChannelHandlerContext) { self.connection(context)?.flush() }

    func read(context: ChannelHandlerContext) {
        guard let connection = self.connection(context) else { return context.read() }
        if connection.mayRead(self.side) { context.read() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) { self.connection(context)?.resumeReading() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed: self.connection(context)?.ended(self.side)
        case TLSUserEvent.handshakeCompleted: self.connection(context)?.handshakeCompleted()
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.connection(context)?.failed(self.side, error)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.connection(context)?.closed(self.side)
        self.connection = nil
    }
}
