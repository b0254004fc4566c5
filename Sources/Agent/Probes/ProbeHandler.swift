import NIOCore
import NIOHTTP1

/// Answers one request, then closes the connection, so that none is held by a client that has gone away.
final class ProbeHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    /// How long a connection may live.
    static let lifetime = TimeAmount.seconds(10)

    private let source: ProbeAnswer.Source
    private var head: HTTPRequestHead?
    private var end: Scheduled<Void>?

    init(source: ProbeAnswer.Source) {
        self.source = source
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.end = context.eventLoop.assumeIsolated().scheduleTask(in: Self.lifetime) {
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.end?.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head): self.head = head
        // Nothing that may be asked for has a body.
        case .body: break
        case .end:
            guard let head = self.head.take() else { return }
            self.answer(head, context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func answer(_ request: HTTPRequestHead, _ context: ChannelHandlerContext) {
        let answer = ProbeAnswer(method: request.method, target: request.uri, from: self.source)
        let headers: HTTPHeaders = [
            "content-type": answer.contentType,
            "content-length": String(answer.body.readableBytes),
            "cache-control": "no-store",
            "connection": "close",
        ]
        let head = HTTPResponseHead(version: .http1_1, status: answer.status, headers: headers)
        context.write(self.wrapOutboundOut(.head(head)), promise: nil)
        if request.method != .HEAD {
            context.write(self.wrapOutboundOut(.body(.byteBuffer(answer.body))), promise: nil)
        }
        context.writeAndFlush(self.wrapOutboundOut(.end(nil))).assumeIsolated().whenComplete { _ in
            context.close(promise: nil)
        }
    }
}
