import NIOCore
import Testing

@testable import AgentModules

@Suite("HTTP as the relay reads it")
struct HTTPFramingTests {
    /// Every way to cut the bytes in two, and one byte at a time.
    static func pieces(_ text: String) -> [[ByteBuffer]] {
        let bytes = Array(text.utf8)
        return (0...bytes.count).map { [ByteBuffer(bytes: bytes[..<$0]), ByteBuffer(bytes: bytes[$0...])] }
            + [bytes.map { ByteBuffer(bytes: [$0]) }]
    }

    @Test("a head ends with its empty line, wherever it is cut", arguments: ["\r\n", "\n"])
    func heads(end: String) throws {
        let head = ["GET / HTTP/1.1", "A: b", "", ""].joined(separator: end)
        for pieces in Self.pieces("\r\n" + head + "rest") {
            var scanner = HTTPHeadScanner()
            var input = ByteBuffer()
            var found: ByteBuffer?
            for piece in pieces {
                input.writeImmutableBuffer(piece)
                if found == nil { found = try scanner.next(&input) }
            }
            #expect(found == ByteBuffer(string: head))
            #expect(input == ByteBuffer(string: "rest"))
        }
        var scanner = HTTPHeadScanner()
        var input = ByteBuffer(repeating: 65, count: HTTPHeadScanner.limit + 1)
        #expect(throws: HTTPProblem("a head of more than 256 KiB")) { try scanner.next(&input) }
    }

    @Test(
        "where a body ends, wherever it is cut",
        arguments: [
            (HTTPBody.length(5), "hello"), (.length(0), ""), (.chunked(HTTPChunks()), "0\r\n\r\n"),
            (
                .chunked(HTTPChunks()),
                "5\r\nhello\r\n1F ;x=\"y\"\r\n0123456789012345678901234567890\r\n0\r\nT: v\r\n\r\n"
            ),
            (.chunked(HTTPChunks()), "0a\nhello\r\n\r\n!\n000\n\n"),
        ]
    )
    func bodies(body: HTTPBody, text: String) throws {
        for pieces in Self.pieces(text + "GET") {
            var (body, input, taken) = (body, ByteBuffer(), ByteBuffer())
            for piece in pieces {
                input.writeImmutableBuffer(piece)
                #expect(body.isComplete == (taken.readableBytes == text.utf8.count))
                taken.writeImmutableBuffer(try body.take(&input))
            }
            #expect(body.isComplete)
            #expect(taken == ByteBuffer(string: text))
            #expect(input == ByteBuffer(string: "GET"))
        }
    }

    @Test(
        "chunks that are none",
        arguments: [
            ("\r\n", "a chunk without its size"), ("x\r\n", "a chunk without its size"),
            ("2\r\nabc", "a chunk that is longer than its size"),
            ("1000000000000000\r\n", "a chunk of more than 2^60 bytes"),
            ("1;" + String(repeating: "x", count: 17000), "a line of more than 16 KiB in a chunked body"),
            ("0\r\n" + String(repeating: "a: b\r\n", count: 3000), "a line of more than 16 KiB in a chunked body"),
        ]
    )
    func wrongChunks(text: String, problem: String) {
        var body = HTTPBody.chunked(HTTPChunks())
        var input = ByteBuffer(string: text)
        #expect(throws: HTTPProblem(problem)) { try body.take(&input) }
    }

    static func request(_ fields: String, _ line: String = "POST http://h/ HTTP/1.1") throws -> HTTPRequestHead {
        try HTTPRequestHead(parsing: ByteBuffer(string: "\(line)\r\n\(fields)\r\n"))
    }

    static func response(_ fields: String, _ line: String = "HTTP/1.1 200 OK") throws -> HTTPResponseHead {
        try HTTPResponseHead(parsing: ByteBuffer(string: "\(line)\r\n\(fields)\r\n"))
    }

    @Test("what tells a body's length")
    func lengths() throws {
        let chunked = HTTPBody.chunked(HTTPChunks())
        #expect(try HTTPBody(of: Self.request("")) == .none)
        #expect(try HTTPBody(of: Self.request("Content-Length: 7\r\n")) == .length(7))
        #expect(try HTTPBody(of: Self.request("CONTENT-length:7 , 7\r\nContent-Length: 7\r\n")) == .length(7))
        #expect(try HTTPBody(of: Self.request("Transfer-Encoding: gzip, Chunked\r\n")) == chunked)
        for fields in [
            "Content-Length: 7\r\nContent-Length: 8\r\n", "Content-Length: -1\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip\r\n",
        ] {
            #expect(throws: HTTPProblem.self, "\(fields)") { try HTTPBody(of: Self.request(fields)) }
        }
        let seven = "Content-Length: 7\r\n"
        #expect(try HTTPBody(of: Self.response(""), method: "GET") == .untilClose)
        #expect(try HTTPBody(of: Self.response(seven), method: "GET") == .length(7))
        #expect(try HTTPBody(of: Self.response(seven), method: "HEAD") == .none)
        #expect(try HTTPBody(of: Self.response(seven, "HTTP/1.1 204 No Content"), method: "GET") == .none)
        #expect(try HTTPBody(of: Self.response(seven, "HTTP/1.1 304 Not Modified"), method: "GET") == .none)
        #expect(try HTTPBody(of: Self.response(seven + "Transfer-Encoding: chunked\r\n"), method: "GET") == chunked)
        #expect(try HTTPBody(of: Self.response("Transfer-Encoding: gzip\r\n"), method: "GET") == .untilClose)
    }

    @Test("whether a connection is kept")
    func keepAlive() throws {
        #expect(try Self.request("").fields.keepsAlive(minorVersion: 1))
        #expect(try !Self.request("").fields.keepsAlive(minorVersion: 0))
        #expect(try Self.request("Connection: Keep-Alive, x\r\n").fields.keepsAlive(minorVersion: 0))
        #expect(try !Self.request("Connection: x\r\nConnection: Close\r\n").fields.keepsAlive(minorVersion: 1))
        #expect(try !Self.request("Proxy-Connection: close\r\n").fields.keepsAlive(minorVersion: 1))
    }

    @Test(
        "heads that are none",
        arguments: [
            "GET", "GET /", "GET  / HTTP/1.1", "GET / HTTP/2.0", "GET / HTTP/1.x", " / HTTP/1.1",
            "GET / HTTP/1.1\r\n: x",
            "GET / HTTP/1.1\r\nno colon", "GET / HTTP/1.1\r\n folded: x", "GET / HTTP/1.1\r\na b: c",
            "\u{16}\u{3}\u{1}",
        ]
    )
    func wrongHeads(text: String) {
        #expect(throws: HTTPProblem.self) { try HTTPRequestHead(parsing: ByteBuffer(string: text + "\r\n\r\n")) }
        #expect(throws: HTTPProblem.self) { try HTTPResponseHead(parsing: ByteBuffer(string: text + "\r\n\r\n")) }
    }

    @Test(
        "the server of an absolute URL, and what it is asked",
        arguments: [
            ("http://h/a?b", "h:80", "/a?b"), ("HTTP://u:p@h:81", "h:81", "/"), ("http://h?q", "h:80", "/?q"),
            ("http://[::1]:8080/x", "[::1]:8080", "/x"), ("https://h/", nil, nil), ("/a", nil, nil),
            ("http://", nil, nil),
            ("http://h:x/", nil, nil),
        ] as [(String, String?, String?)]
    )
    func origins(url: String, server: String?, target: String?) throws {
        let origin = try Self.request("", "GET \(url) HTTP/1.1").origin
        #expect(origin?.server.description == server)
        #expect(origin.map { String(decoding: $0.target, as: UTF8.self) } == target)
    }

    @Test("what is sent on: to a proxy as it came, to a server without what is meant for proxies")
    func forwarded() throws {
        let fields = "a:  B\r\nProxy-Authorization: x\r\nproxy-connection: y\r\nC: \t\r\n"
        let head = try Self.request(fields, "GET http://h:81/%ff HTTP/1.1")
        #expect(
            head.forwarded(authorization: "Basic z")
                == ByteBuffer(
                    string: "GET http://h:81/%ff HTTP/1.1\r\na:  B\r\nproxy-connection: y\r\nC: \t\r\n"
                        + "Proxy-Authorization: Basic z\r\n\r\n"
                )
        )
        let (server, target) = try #require(head.origin)
        #expect(
            head.forwarded(target: target, server: server)
                == ByteBuffer(string: "GET /%ff HTTP/1.1\r\na:  B\r\nC: \t\r\nHost: h:81\r\n\r\n")
        )
        let options = try Self.request("Host: other\r\n", "OPTIONS http://h HTTP/1.0")
        let origin = try #require(options.origin)
        #expect(
            options.forwarded(target: origin.target, server: origin.server)
                == ByteBuffer(string: "OPTIONS * HTTP/1.0\r\nHost: other\r\n\r\n")
        )
    }

    @Test("the answer to a CONNECT, wherever it is cut")
    func connect() throws {
        let refusal = "HTTP/1.1 403 No  Way\r\nContent-Length: 9\r\n\r\nnot\r\nyou!more"
        for (answer, words) in [
            ("HTTP/1.1 100 Go\r\n\r\nHTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nmore", nil),
            (refusal, "403 No Way: not you!"),
            ("HTTP/1.1 502 X\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>more", "502 X"),
            ("HTTP/1.1 503\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nmore", "503"),
        ] as [(String, String?)] {
            for pieces in Self.pieces(answer) {
                var (client, input) = (HTTPConnectClient(), ByteBuffer())
                var outcome: HTTPConnectClient.Outcome?
                for piece in pieces {
                    input.writeImmutableBuffer(piece)
                    if outcome == nil { outcome = try client.receive(&input) }
                }
                if let words {
                    guard case .refused(let refusal) = outcome else {
                        throw HTTPProblem("\(String(describing: outcome))")
                    }
                    #expect(refusal.words == words)
                } else {
                    #expect(outcome == .connected)
                }
                #expect(input == ByteBuffer(string: "more"))
            }
        }
        var (client, input) = (
            HTTPConnectClient(), ByteBuffer(string: "HTTP/1.1 500 Oh\r\nContent-Length: 99\r\n\r\nwell")
        )
        #expect(try client.receive(&input) == nil)
        #expect(client.partial?.words == "500 Oh: well")
    }
}
