import NIOCore

/// The client's part of an HTTP tunnel (RFC 9110, section 9.3.6), once `CONNECT` was sent.
struct HTTPConnectClient: Equatable {
    enum Outcome: Equatable {
        /// The target's bytes follow.
        case connected
        case refused(HTTPRefusal)
    }

    private enum State: Equatable {
        case head(HTTPHeadScanner)
        case refusal(HTTPRefusal, HTTPBody)
    }

    /// How much of a refusal's body is kept, in bytes.
    private static let limit = 2048

    private var state = State.head(HTTPHeadScanner())

    /// Takes what has come as far as it is the proxy's; what follows the head of a success is left.
    /// - Returns: `nil` while more must come.
    mutating func receive(_ input: inout ByteBuffer) throws(HTTPProblem) -> Outcome? {
        while case .head(var scanner) = self.state {
            let head = try scanner.next(&input)
            self.state = .head(scanner)
            guard let head else { return nil }
            let response = try HTTPResponseHead(parsing: head)
            // To a tunnel that is open no length applies.
            if (200..<300).contains(response.status) { return .connected }
            guard !response.isInterim else { continue }
            self.state = .refusal(HTTPRefusal(response), try HTTPBody(of: response, method: "CONNECT"))
        }
        guard case .refusal(var refusal, var body) = self.state else { return nil }
        var part = try body.take(&input)
        if let text = part.readSlice(length: min(part.readableBytes, Self.limit - refusal.body.readableBytes)) {
            refusal.body.writeImmutableBuffer(text)
        }
        self.state = .refusal(refusal, body)
        return body.isComplete || refusal.body.readableBytes == Self.limit ? .refused(refusal) : nil
    }

    /// The refusal of which no more comes, if there is one.
    var partial: HTTPRefusal? {
        guard case .refusal(let refusal, _) = self.state else { return nil }
        return refusal
    }
}

/// How a proxy refuses a tunnel.
struct HTTPRefusal: Equatable {
    var status: Int
    var reason: String
    /// Its beginning, as it came.
    var body = ByteBuffer()
    /// Whether the body is for people to read as it is.
    private var isText: Bool

    init(_ response: HTTPResponseHead) {
        self.status = response.status
        self.reason = response.reason
        let type = response.fields.first("content-type")?.lowercased() ?? "text/plain"
        let isFramed = response.fields.contains("transfer-encoding") || response.fields.contains("content-encoding")
        self.isText = !isFramed && (type.hasPrefix("text/plain") || type.contains("json"))
    }

    /// In the proxy's own words, on one line.
    var words: String {
        let text = self.isText ? String(decoding: self.body.readableBytesView, as: UTF8.self) : ""
        let parts = "\(self.status) \(self.reason)\(text.isEmpty ? "" : ": \(text)")".split(
            whereSeparator: \.isWhitespace
        )
        return String(parts.joined(separator: " ").prefix(500))
    }
}
