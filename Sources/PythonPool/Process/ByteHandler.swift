import NIOCore

/// Hands the bytes of a channel, and its end, to the pool, on their common event loop.
final class ByteHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let pool: PythonPool
    private let source: ByteSource

    init(pool: PythonPool, source: ByteSource) {
        self.pool = pool
        self.source = source
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        pool.assumeIsolated { [source] in $0.received(bytes, from: source) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        pool.assumeIsolated { [source] in $0.ended(source) }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
