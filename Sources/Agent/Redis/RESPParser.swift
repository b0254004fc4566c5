import NIOCore

/// A reply of a Redis server, as far as AUTH, SELECT and GET have them.
enum RESPReply: Equatable, Sendable {
    /// A status, such as `OK`.
    case simple(String)
    /// An error: its code, such as `WRONGTYPE`, and the rest of its text.
    case error(code: String, text: String)
    case integer(Int64)
    case bulk(ByteBuffer)
    case null
}

/// What is wrong with bytes that are not RESP, or more than was asked for. Quotes nothing of them.
struct RESPViolation: Error, Equatable, CustomStringConvertible {
    var description: String
}

/// An incremental parser of RESP2 replies (https://redis.io/docs/latest/develop/reference/protocol-spec/), bounded in
/// every direction.
///
/// Bytes go in by ``append(_:)``, replies come out of ``next()``. After an error the parser stays in it: there is no
/// way to find the next reply's beginning.
struct RESPParser: Sendable {
    /// Status, error and number lines are short; a longer one comes from something that is no Redis.
    static let maximumLine = 64 << 10

    private enum State {
        case line
        case bulk(length: Int)
        case failed(RESPViolation)
    }

    private let maximumBulk: Int
    private var state = State.line
    private var buffer = ByteBuffer()
    /// How much of the readable bytes is known to hold no line feed, so that a line that drips in is scanned once.
    private var scanned = 0

    /// - Parameter maximumBulk: the largest value accepted, in bytes.
    init(maximumBulk: Int) {
        self.maximumBulk = maximumBulk
    }

    /// Bytes that have come and are not part of a reply yet.
    var unreadBytes: Int { self.buffer.readableBytes }

    mutating func append(_ bytes: ByteBuffer) {
        if case .failed = self.state { return }
        if self.buffer.readableBytes == 0 {
            self.buffer = bytes
        } else {
            self.buffer.discardReadBytes()
            self.buffer.writeImmutableBuffer(bytes)
        }
    }

    /// The next whole reply, or `nil` until more bytes have come.
    mutating func next() throws(RESPViolation) -> RESPReply? {
        do throws(RESPViolation) {
            return try self.parse()
        } catch {
            self.state = .failed(error)
            self.buffer = ByteBuffer()
            throw error
        }
    }

    private mutating func parse() throws(RESPViolation) -> RESPReply? {
        switch self.state {
        case .failed(let violation):
            throw violation
        case .line:
            guard let line = try self.readLine() else { return nil }
            switch try self.reply(of: line) {
            case .whole(let reply): return reply
            case .bulk(let length):
                self.state = .bulk(length: length)
                return try self.parseBulk(length)
            }
        case .bulk(let length):
            return try self.parseBulk(length)
        }
    }

    private mutating func parseBulk(_ length: Int) throws(RESPViolation) -> RESPReply? {
        guard self.buffer.readableBytes >= length + 2, let value = self.buffer.readSlice(length: length),
            let end = self.buffer.readInteger(as: UInt16.self)
        else { return nil }
        guard end == 0x0D0A else { throw RESPViolation(description: "a value longer than its announced length") }
        self.state = .line
        return .bulk(value)
    }

    /// A line without its end, or `nil` if it's not all here.
    private mutating func readLine() throws(RESPViolation) -> ByteBuffer? {
        // What is wrong from its first byte is told at once: a peer may never send a line's end.
        if let first = self.buffer.readableBytesView.first, !"+-:$".utf8.contains(first) {
            throw RESPViolation(description: first == UInt8(ascii: "*") ? "an array" : "an answer that is not RESP")
        }
        let view = self.buffer.readableBytesView
        guard let end = view[(view.startIndex + self.scanned)...].firstIndex(of: UInt8(ascii: "\n")) else {
            self.scanned = view.count
            guard self.scanned <= Self.maximumLine else {
                throw RESPViolation(description: "a line of more than \(Self.maximumLine) bytes")
            }
            return nil
        }
        let length = end - view.startIndex
        guard length <= Self.maximumLine else {
            throw RESPViolation(description: "a line of more than \(Self.maximumLine) bytes")
        }
        self.scanned = 0
        guard length >= 2, view[end - 1] == UInt8(ascii: "\r"), let line = self.buffer.readSlice(length: length - 1)
        else {
            throw RESPViolation(description: "a line that doesn't end in CR LF")
        }
        self.buffer.moveReaderIndex(forwardBy: 2)
        return line
    }

    private enum LineMeaning {
        case whole(RESPReply)
        case bulk(length: Int)
    }

    private func reply(of line: ByteBuffer) throws(RESPViolation) -> LineMeaning {
        let text = String(decoding: line.readableBytesView.dropFirst(), as: UTF8.self)
        switch line.readableBytesView.first {
        case UInt8(ascii: "+"):
            return .whole(.simple(text))
        case UInt8(ascii: "-"):
            let parts = text.split(separator: " ", maxSplits: 1)
            return .whole(
                .error(code: parts.first.map(String.init) ?? "", text: parts.count > 1 ? String(parts[1]) : "")
            )
        case UInt8(ascii: ":"):
            guard let number = Int64(text) else { throw RESPViolation(description: "an integer that is none") }
            return .whole(.integer(number))
        default:
            guard let length = Int(text), length >= -1 else {
                throw RESPViolation(description: "a length that is none")
            }
            if length == -1 { return .whole(.null) }
            guard length <= self.maximumBulk else {
                throw RESPViolation(
                    description: "a value of \(length) bytes, more than the \(self.maximumBulk) allowed"
                )
            }
            return .bulk(length: length)
        }
    }
}
