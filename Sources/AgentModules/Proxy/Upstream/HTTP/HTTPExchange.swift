import NIOCore

/// A request with its answer, and how far both have come.
struct HTTPExchange: Equatable {
    let method: String
    /// Whether the client asks for another protocol on this connection (RFC 9110, section 7.8).
    let asksForUpgrade: Bool
    var request: HTTPBody
    /// `nil` until the answer's head has come.
    private(set) var response: HTTPBody?
    /// Whether the connections can be used again afterwards.
    private(set) var keepsAlive: Bool
    private var heads = HTTPHeadScanner()

    init(_ head: HTTPRequestHead) throws(HTTPProblem) {
        self.method = head.method
        self.asksForUpgrade = head.fields.contains("upgrade")
        self.request = try HTTPBody(of: head)
        self.keepsAlive = head.fields.keepsAlive(minorVersion: head.minorVersion)
    }

    var isRequestComplete: Bool { self.request.isComplete }
    var hasResponseBegun: Bool { self.response != nil }
    var isResponseComplete: Bool { self.response?.isComplete ?? false }

    /// A part of the answer.
    enum Part: Equatable {
        case head(HTTPResponseHead, ByteBuffer)
        case body(ByteBuffer)
    }

    /// - Returns: `nil` until more has come.
    mutating func take(_ output: inout ByteBuffer) throws(HTTPProblem) -> Part? {
        guard output.readableBytes > 0 else { return nil }
        if var body = self.response {
            let part = try body.take(&output)
            self.response = body
            return .body(part)
        }
        guard let bytes = try self.heads.next(&output) else { return nil }
        let head = try HTTPResponseHead(parsing: bytes)
        if !head.isInterim, head.status != 101 {
            let body = try HTTPBody(of: head, method: self.method)
            self.response = body
            if !head.fields.keepsAlive(minorVersion: head.minorVersion) || body == .untilClose {
                self.keepsAlive = false
            }
        }
        return .head(head, bytes)
    }
}
