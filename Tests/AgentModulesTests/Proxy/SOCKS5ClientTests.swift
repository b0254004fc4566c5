import NIOCore
import Testing

@testable import AgentModules

@Suite("SOCKS 5, the client's part")
struct SOCKS5ClientTests {
    static let credentials = UpstreamProxy.Credentials(user: "bob", password: "pw")

    /// What the client sends in answer to bytes that come in these pieces, and what it leaves of them.
    static func run(
        _ target: HostPort,
        _ credentials: UpstreamProxy.Credentials?,
        _ pieces: [ArraySlice<UInt8>]
    ) throws(SOCKS5Client.Problem) -> (sent: [[UInt8]], isConnected: Bool, rest: [UInt8]) {
        var client = SOCKS5Client(target: target, credentials: credentials)
        var sent = [Array(buffer: client.greeting)]
        var isConnected = false
        var input = ByteBuffer()
        for piece in pieces {
            input.writeBytes(piece)
            while !isConnected, let step = try client.receive(&input) {
                switch step {
                case .send(let message): sent.append(Array(buffer: message))
                case .connected: isConnected = true
                }
            }
        }
        return (sent, isConnected, Array(buffer: input))
    }

    @Test(
        "a name, an address of either kind, credentials and none: what is sent, however the answers are split",
        arguments: [
            (
                HostPort(host: "example.com", port: 443), false, [5, 0, 5, 0, 0, 1, 127, 0, 0, 1, 0, 80],
                [[5, 1, 0], [5, 1, 0, 3, 11] + Array("example.com".utf8) + [1, 187]]
            ),
            (
                HostPort(host: "10.1.2.3", port: 80), false, [5, 0, 5, 0, 0, 3, 2, 65, 66, 0, 80],
                [[5, 1, 0], [5, 1, 0, 1, 10, 1, 2, 3, 0, 80]]
            ),
            (
                HostPort(host: "::1", port: 65535), true, [5, 2, 1, 0, 5, 0, 0, 4] + Array(repeating: 9, count: 18),
                [
                    [5, 2, 0, 2], [1, 3, 98, 111, 98, 2, 112, 119],
                    [5, 1, 0, 4] + Array(repeating: 0, count: 15) + [1, 255, 255],
                ]
            ),
            (
                HostPort(host: "a", port: 1), true, [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
                [[5, 2, 0, 2], [5, 1, 0, 3, 1, 97, 0, 1]]
            ),
        ] as [(HostPort, Bool, [UInt8], [[UInt8]])]
    )
    func connects(target: HostPort, hasCredentials: Bool, answers: [UInt8], expected: [[UInt8]]) throws {
        let credentials = hasCredentials ? Self.credentials : nil
        let all = answers + [7, 8, 9]
        for split in 0...all.count {
            let result = try Self.run(target, credentials, [all[..<split], all[split...]])
            #expect(result.sent == expected)
            #expect(result.isConnected)
            #expect(result.rest == [7, 8, 9], "the target's own bytes")
        }
        let result = try Self.run(target, credentials, all.indices.map { all[$0...$0] })
        #expect(result.sent == expected && result.isConnected && result.rest == [7, 8, 9])
        for count in answers.indices {
            let result = try Self.run(target, credentials, [answers[..<count]])
            #expect(!result.isConnected, "after \(count) bytes")
        }
    }

    @Test(
        "refusals and what is no SOCKS",
        arguments: [
            (false, [5, 255], SOCKS5Client.Problem.noMethod), (true, [5, 255], .noMethod), (true, [5, 1], .noMethod),
            (true, [5, 2, 1, 1], .credentialsRefused), (true, [5, 2, 5, 9], .credentialsRefused),
            (false, [5, 2], .violation("a demand for credentials that were not offered")),
            (false, [5, 0, 5, 5], .refused(5)), (false, [5, 0, 5, 200, 0, 1], .refused(200)),
            (false, [72], .violation("72 where the version, 5, was expected")),
            (false, [5, 0, 4], .violation("4 where the version, 5, was expected")),
            (false, [5, 0, 5, 0, 0, 2, 0], .violation("address type 2 in its reply")),
        ] as [(Bool, [UInt8], SOCKS5Client.Problem)]
    )
    func refused(hasCredentials: Bool, answers: [UInt8], problem: SOCKS5Client.Problem) {
        let target = HostPort(host: "a", port: 1)
        #expect(throws: problem) {
            try Self.run(target, hasCredentials ? Self.credentials : nil, [answers[...]])
        }
        #expect(throws: problem) {
            try Self.run(target, hasCredentials ? Self.credentials : nil, answers.indices.map { answers[$0...$0] })
        }
    }

    @Test("each reply code has a sentence of its own")
    func meanings() {
        let texts = (UInt8(1)...9).map { SOCKS5Client.meaning(of: $0) }
        #expect(Set(texts).count == 9)
        #expect(texts[4] == "the connection was refused")
        #expect(texts[8] == "the proxy gives the unknown reason 9")
    }
}
