import NIOCore
import Testing

@testable import Agent

@Suite("RESP parser")
struct RESPParserTests {
    private static let stream = "+OK\r\n$5\r\nhe\r\no\r\n$-1\r\n$0\r\n\r\n:-42\r\n-WRONGTYPE not so\r\n-ERR\r\n+\r\n"
    private static let replies: [RESPReply] = [
        .simple("OK"), .bulk(ByteBuffer(string: "he\r\no")), .null, .bulk(ByteBuffer()), .integer(-42),
        .error(code: "WRONGTYPE", text: "not so"), .error(code: "ERR", text: ""), .simple(""),
    ]

    @Test("replies come out alike however the bytes are cut", arguments: 1...40)
    func cuts(size: Int) throws {
        var parser = RESPParser(maximumBulk: 100)
        var got: [RESPReply] = []
        let bytes = Array(Self.stream.utf8)
        for start in stride(from: 0, to: bytes.count, by: size) {
            parser.append(ByteBuffer(bytes: bytes[start..<min(start + size, bytes.count)]))
            while let reply = try parser.next() { got.append(reply) }
        }
        #expect(got == Self.replies)
        #expect(parser.unreadBytes == 0)
    }

    @Test(
        "what is not RESP, or too much of it, is an error, and stays one",
        arguments: [
            "HTTP/1.1 400 Bad Request\r\n", "*1\r\n$1\r\na\r\n", "$101\r\n", "$-2\r\n", "$x\r\n", "$\r\n", "$+5x\r\n",
            ":x\r\n", ":\r\n",
            "+OK\n", "\n", "$3\r\nabcd\r\n", "$3\r\nabc\n\n", "$99999999999999999999\r\n", ":9223372036854775808\r\n",
            "\0",
        ]
    )
    func violations(text: String) throws {
        var parser = RESPParser(maximumBulk: 100)
        parser.append(ByteBuffer(string: text))
        let first = #expect(throws: RESPViolation.self) { try parser.next() }
        parser.append(ByteBuffer(string: "+OK\r\n"))
        let second = #expect(throws: RESPViolation.self) { try parser.next() }
        #expect(first == second)
        #expect(parser.unreadBytes == 0)
    }

    @Test("a line that never ends is cut off, and costs no more than its length")
    func endlessLine() throws {
        var parser = RESPParser(maximumBulk: 100)
        parser.append(ByteBuffer(string: "+"))
        let chunk = ByteBuffer(repeating: UInt8(ascii: "a"), count: 1024)
        var chunks = 0
        #expect(throws: RESPViolation.self) {
            while chunks < 1000 {
                parser.append(chunk)
                chunks += 1
                _ = try parser.next()
            }
        }
        #expect(chunks == RESPParser.maximumLine / 1024)
    }

    @Test("an announced length takes no memory until its bytes come")
    func hugeAnnouncement() throws {
        var parser = RESPParser(maximumBulk: 512 << 20)
        parser.append(ByteBuffer(string: "$536870912\r\nab"))
        #expect(try parser.next() == nil)
        #expect(parser.unreadBytes == 2)
    }

    @Test("any bytes end in replies, an error or more wanted", arguments: 0..<8)
    func fuzz(seed: UInt64) {
        var random = SplitMix(state: seed)
        for _ in 0..<3000 {
            var bytes = Array(Self.stream.utf8)
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let position = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[position] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: position)
                case 2: bytes.insert(Array("\r\n$*+-:0123456789".utf8).randomElement(using: &random) ?? 0, at: position)
                default: bytes.removeSubrange(position...)
                }
                if bytes.isEmpty { bytes = [UInt8(ascii: "$")] }
            }
            // Whole and cut into pieces, the same must come of it.
            let cuts = Int.random(in: 1...bytes.count, using: &random)
            let whole = Self.outcome(of: bytes, pieces: bytes.count)
            let cut = Self.outcome(of: bytes, pieces: cuts)
            #expect(whole.replies == cut.replies)
            #expect(whole.failed == cut.failed)
        }
    }

    private static func outcome(of bytes: [UInt8], pieces size: Int) -> (replies: [RESPReply], failed: Bool) {
        var parser = RESPParser(maximumBulk: 100)
        var replies: [RESPReply] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            parser.append(ByteBuffer(bytes: bytes[start..<min(start + size, bytes.count)]))
            do {
                while let reply = try parser.next() { replies.append(reply) }
            } catch {
                return (replies, true)
            }
        }
        return (replies, false)
    }

    @Test("commands are arrays of bulk strings, lengths in bytes")
    func commands() {
        var buffer = ByteBuffer()
        RESPCommand.get(key: "é0").write(to: &buffer)
        #expect(String(buffer: buffer) == "*2\r\n$3\r\nGET\r\n$3\r\né0\r\n")
        buffer.clear()
        RESPCommand.auth(user: "u", password: "p\r\n").write(to: &buffer)
        #expect(String(buffer: buffer) == "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$3\r\np\r\n\r\n")
        buffer.clear()
        RESPCommand.auth(user: nil, password: "p").write(to: &buffer)
        RESPCommand.select(database: 12).write(to: &buffer)
        #expect(String(buffer: buffer) == "*2\r\n$4\r\nAUTH\r\n$1\r\np\r\n*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n")
    }

    @Test("an error's text never repeats what AUTH sent")
    func authErrors() {
        let error = RedisError(
            code: "ERR",
            text: "unknown command `AUTH`, with args beginning with: `u` `hunter2`",
            command: .auth(user: "u", password: "hunter2")
        )
        #expect(error == .authenticationFailed(code: "ERR"))
        #expect(!error.description.contains("hunter2"))
    }
}

/// A small generator, so that a failure can be repeated.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var z = self.state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
