import NIOCore

/// How far a message's body has come (RFC 9112, sections 6 and 7).
enum HTTPBody: Equatable {
    /// Bytes that are yet to come.
    case length(Int)
    case chunked(HTTPChunks)
    /// All that comes until the connection ends.
    case untilClose

    static let none = HTTPBody.length(0)

    /// The body that follows a request's head.
    init(of request: HTTPRequestHead) throws(HTTPProblem) {
        let codings = request.fields.list("transfer-encoding")
        let length = try request.fields.contentLength()
        guard !codings.isEmpty else {
            self = .length(length ?? 0)
            return
        }
        // Two lengths are how requests are smuggled (RFC 9112, section 6.1).
        guard codings.last == "chunked", length == nil else {
            throw HTTPProblem(
                "a body whose end can't be told: Transfer-Encoding is not chunked, or there is a Content-Length beside it"
            )
        }
        self = .chunked(HTTPChunks())
    }

    /// The body that follows a response's head.
    /// - Parameter method: of the request.
    init(of response: HTTPResponseHead, method: String) throws(HTTPProblem) {
        if method == "HEAD" || response.status < 200 || response.status == 204 || response.status == 304 {
            self = .none
            return
        }
        if let coding = response.fields.list("transfer-encoding").last {
            self = coding == "chunked" ? .chunked(HTTPChunks()) : .untilClose
        } else if let length = try response.fields.contentLength() {
            self = .length(length)
        } else {
            self = .untilClose
        }
    }

    var isComplete: Bool {
        switch self {
        case .length(let remaining): remaining == 0
        case .chunked(let chunks): chunks.isComplete
        case .untilClose: false
        }
    }

    /// Takes what belongs to the body, with all that frames it; leaves what follows it.
    mutating func take(_ input: inout ByteBuffer) throws(HTTPProblem) -> ByteBuffer {
        let count: Int
        switch self {
        case .length(let remaining):
            count = min(remaining, input.readableBytes)
            self = .length(remaining - count)
        case .chunked(var chunks):
            count = try chunks.measure(input)
            self = .chunked(chunks)
        case .untilClose: count = input.readableBytes
        }
        return input.readSlice(length: count) ?? ByteBuffer()
    }
}

/// Follows the chunks of a body to their end.
struct HTTPChunks: Equatable {
    private enum State: Equatable {
        case size(Int, digits: Int)
        case sizeExtension(Int)
        case data(Int)
        case dataEnd
        case trailer(isEmpty: Bool)
        case complete
    }

    /// The longest line about a chunk, and all trailers together, in bytes.
    private static let limit = 16 << 10

    private var state = State.size(0, digits: 0)
    /// Bytes of the present line, or of all trailers.
    private var line = 0

    var isComplete: Bool { self.state == .complete }

    /// - Returns: how many of the bytes belong to the body.
    mutating func measure(_ input: ByteBuffer) throws(HTTPProblem) -> Int {
        let result = input.withUnsafeReadableBytes { bytes -> Result<Int, HTTPProblem> in
            var index = 0
            do throws(HTTPProblem) {
                while index < bytes.count, self.state != .complete {
                    if case .data(let remaining) = self.state {
                        let count = min(remaining, bytes.count - index)
                        index += count
                        self.state = count == remaining ? .dataEnd : .data(remaining - count)
                    } else {
                        try self.step(bytes[index])
                        index += 1
                    }
                }
            } catch {
                return .failure(error)
            }
            return .success(index)
        }
        return try result.get()
    }

    private mutating func step(_ byte: UInt8) throws(HTTPProblem) {
        self.line += 1
        guard self.line <= Self.limit else {
            throw HTTPProblem("a line of more than \(Self.limit >> 10) KiB in a chunked body")
        }
        switch self.state {
        case .size(let size, let digits):
            if let digit = byte.hexadecimalDigit {
                guard digits < 15 else { throw HTTPProblem("a chunk of more than 2^60 bytes") }
                self.state = .size(size << 4 | digit, digits: digits + 1)
            } else {
                guard digits > 0, byte <= 0x20 || byte == UInt8(ascii: ";") else {
                    throw HTTPProblem("a chunk without its size")
                }
                self.state = .sizeExtension(size)
                self.endSize(byte, size)
            }
        case .sizeExtension(let size): self.endSize(byte, size)
        case .dataEnd:
            if byte == .lineFeed {
                self.line = 0
                self.state = .size(0, digits: 0)
            } else if byte != .carriageReturn {
                throw HTTPProblem("a chunk that is longer than its size")
            }
        case .trailer(let isEmpty):
            if byte == .lineFeed {
                self.state = isEmpty ? .complete : .trailer(isEmpty: true)
            } else if byte != .carriageReturn {
                self.state = .trailer(isEmpty: false)
            }
        case .data, .complete: break
        }
    }

    private mutating func endSize(_ byte: UInt8, _ size: Int) {
        guard byte == .lineFeed else { return }
        self.line = 0
        self.state = size == 0 ? .trailer(isEmpty: true) : .data(size)
    }
}
