import NIOCore

/// The head of a response (RFC 9112, sections 4 and 5).
struct HTTPResponseHead: Equatable {
    var status: Int
    var reason: String
    var minorVersion: Int
    var fields: HTTPFields

    init(parsing head: ByteBuffer) throws(HTTPProblem) {
        var head = head
        guard let line = head.readLine() else { throw HTTPProblem("an empty head") }
        let parts = line.readableBytesView.split(separator: .space, maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count >= 2, let version = HTTPVersion.minor(parts[0]), parts[1].count == 3,
            let status = Int(String(decoding: parts[1], as: UTF8.self)), (100...999).contains(status)
        else { throw HTTPProblem("an answer that is not HTTP/1.1") }
        self.status = status
        self.reason = parts.count > 2 ? String(decoding: parts[2], as: UTF8.self) : ""
        self.minorVersion = version
        self.fields = try HTTPFields(parsing: &head)
    }

    /// Whether another one follows it. 101 is the last that HTTP has to say.
    var isInterim: Bool { (100..<200).contains(self.status) && self.status != 101 }
}
