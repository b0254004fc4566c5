import NIOCore

/// Puts a message together from its frames: the method that announces it, its header, its body in any number of pieces
/// (AMQP 0-9-1, 4.2.6).
struct DeliveryAssembler: Sendable {
    struct Content: Sendable, Equatable {
        var method: Method
        var properties: BasicProperties
        var body: ByteBuffer
    }

    private enum State: Sendable {
        case idle
        case announced(Method)
        case collecting(Method, Frame.ContentHeader, ByteBuffer)
    }

    private var state = State.idle

    var isIdle: Bool {
        if case .idle = self.state { return true }
        return false
    }

    /// `basic.deliver`, `basic.return` or `basic.get-ok` has come.
    mutating func announced(_ method: Method) throws(AMQPError) {
        guard self.isIdle else { throw .syntax("a message while another was not complete") }
        self.state = .announced(method)
    }

    /// - Returns: the whole message, if it has no body.
    mutating func header(_ header: Frame.ContentHeader) throws(AMQPError) -> Content? {
        guard case .announced(let method) = self.state else { throw .syntax("a content header that nothing announced") }
        guard header.bodySize > 0 else {
            self.state = .idle
            return Content(method: method, properties: header.properties, body: ByteBuffer())
        }
        self.state = .collecting(method, header, ByteBuffer())
        return nil
    }

    /// - Returns: the whole message, once its last piece has come.
    mutating func body(_ piece: ByteBuffer) throws(AMQPError) -> Content? {
        guard case .collecting(let method, let header, var body) = self.state else {
            throw .syntax("a piece of a body that nothing announced")
        }
        self.state = .idle
        let size = UInt64(body.readableBytes) + UInt64(piece.readableBytes)
        guard size <= header.bodySize else {
            throw .syntax("a body of \(size) bytes, where its header announced \(header.bodySize)")
        }
        if body.readableBytes == 0 {
            body = piece
            // More will come, and appending to a slice of what was read would copy it at each step.
            if size < header.bodySize {
                body = ByteBufferAllocator().buffer(capacity: min(Int(header.bodySize), Self.reservedCapacity))
                body.writeImmutableBuffer(piece)
            }
        } else {
            body.writeImmutableBuffer(piece)
        }
        guard size == header.bodySize else {
            self.state = .collecting(method, header, body)
            return nil
        }
        return Content(method: method, properties: header.properties, body: body)
    }

    /// A header's word alone reserves no more than this.
    private static let reservedCapacity = 1 << 20
}
