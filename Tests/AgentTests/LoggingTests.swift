import Glibc
import JSON
import Logging
import NIOPosix
import Testing

@testable import Agent

@Suite("Log")
struct LoggingTests {
    private static func line(
        _ format: LogFormat,
        _ message: Logger.Message,
        _ metadata: Logger.Metadata = [:]
    ) -> String {
        let sink = RecordingSink()
        let logger = Logger(label: "agent.test") { label in
            AgentLogHandler(label: label, format: format, level: .info, sink: sink) {
                LogTimestamp(seconds: 1_795_467_600, milliseconds: 7)
            }
        }
        logger.debug("not shown")
        logger.info(message, metadata: metadata)
        return sink.lines.joined()
    }

    @Test("text lines")
    func text() {
        #expect(
            Self.line(.text, "hello there", ["b": "two words", "a": "1", "c": "", "d": "a=b", "e": ["x", "y"]])
                == "2026-11-23T21:00:00.007Z info hello there a=1 b=\"two words\" c=\"\" d=\"a=b\" "
                + "e=\"[\\\"x\\\", \\\"y\\\"]\"\n"
        )
    }

    @Test(
        "no line can be forged, whatever is logged",
        arguments: [
            "a\n2026 error forged", "a\r\n", "\u{1B}[2J", "\u{85}", "\u{2028}", "\u{202E}abc", "\0", "\"\\\" x=1",
        ]
    )
    func forging(text: String) throws {
        let line = Self.line(.text, "\(text)", ["key": "\(text)", "\(text)": "v"])
        #expect(line.unicodeScalars.filter { $0 == "\n" }.count == 1)
        #expect(line.last == "\n")
        #expect(line.dropLast().unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F..<0xA0).contains($0.value) })
        #expect(!line.unicodeScalars.contains { [0x2028, 0x202E].contains($0.value) })
        let json = Self.line(.json, "\(text)", ["key": "\(text)"])
        #expect(json.unicodeScalars.filter { $0 == "\n" }.count == 1)
        let object = try JSON(parsing: String(json.dropLast()))
        #expect(object["message"]?.string == text)
        #expect(object["key"]?.string == text)
    }

    @Test("JSON lines, in which metadata can't take a member's place")
    func json() throws {
        let object = try JSON(
            parsing: Self.line(.json, "m", ["level": "error", "list": ["a", ["k": "v"]], "n": .stringConvertible(5)])
        )
        #expect(
            object == [
                "time": "2026-11-23T21:00:00.007Z", "level": "info", "logger": "agent.test", "message": "m",
                "metadata.level": "error", "list": ["a", ["k": "v"]], "n": "5",
            ]
        )
    }

    @Test("passwords in URLs are masked in messages and metadata", arguments: LogFormat.allCases)
    func redaction(format: LogFormat) {
        let url = "amqp://user:hunter2@host/v"
        let line = Self.line(format, "to \(url)", ["a": "\(url)", "b": [.string(url)], "c": ["d": .string(url)]])
        #expect(!line.contains("hunter2"))
        #expect(line.contains("amqp://***@host"))
    }

    private static let lineCount = 200

    private static func write(_ letter: String, to sink: DescriptorLogSink) {
        for _ in 0..<Self.lineCount { sink.write(line: String(repeating: letter, count: 5000) + "\n") }
    }

    private static func read(_ count: Int, from descriptor: Int32) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while bytes.count < count {
            let got = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if got <= 0 { break }
            bytes += chunk.prefix(got)
        }
        return bytes
    }

    @Test("lines reach a descriptor whole, from many threads, also through a pipe that is full")
    func descriptor() async throws {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        let (reading, writing) = (ends[0], ends[1])
        try #require(fcntl(writing, F_SETFL, O_NONBLOCK) == 0)
        let sink = DescriptorLogSink(descriptor: writing)
        // Threads of their own: all three may block.
        let threads = NIOThreadPool(numberOfThreads: 3)
        threads.start()
        async let first: Void = threads.runIfActive { Self.write("a", to: sink) }
        async let second: Void = threads.runIfActive { Self.write("b", to: sink) }
        async let reader = threads.runIfActive { Self.read(2 * Self.lineCount * 5001, from: reading) }
        let text = try await reader
        _ = try await (first, second)
        try await threads.shutdownGracefully()
        close(reading)
        close(writing)
        let lines = text.split(separator: UInt8(ascii: "\n"))
        #expect(lines.count == 2 * Self.lineCount)
        #expect(lines.allSatisfy { $0.count == 5000 && Set($0).count == 1 })
    }

    @Test(
        "the time is UTC in milliseconds",
        arguments: [
            (0, 0, "1970-01-01T00:00:00.000Z"), (951_782_399, 999, "2000-02-28T23:59:59.999Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.001Z"), (4_102_444_799, 10, "2099-12-31T23:59:59.010Z"),
        ]
    )
    func timestamp(seconds: Int64, milliseconds: Int64, text: String) {
        #expect(LogTimestamp(seconds: seconds, milliseconds: milliseconds).description == text)
    }
}

@Suite("Redaction")
struct RedactionTests {
    @Test(
        "users and passwords of URLs go, the rest stays",
        arguments: [
            ("amqp://u:p@h:5672/v", "amqp://***@h:5672/v"),
            ("https://token@pypi.org/simple", "https://***@pypi.org/simple"),
            ("amqp://u:p/w@h/v", "amqp://***@h/v"), ("amqp://u:p@w@h/v", "amqp://***@h/v"),
            ("amqp://a:b@c;amqp://d:e@f", "amqp://***@c;amqp://***@f"),
            ("x http://a:b@c/ y \"http://d:e@f\"", "x http://***@c/ y \"http://***@f\""),
            ("http://host:80/a@b", "http://host:80/a@b"),
            ("git+https://github.com/o/r@v1", "git+https://github.com/o/r@v1"),
            ("http://h/?token=abc&x=1&Password=q", "http://h/?token=***&x=1&Password=***"),
            ("no url: a@b", "no url: a@b"),
            ("http://[::1]:80/p@q", "http://[::1]:80/p@q"), ("://", "://"), ("", ""),
        ]
    )
    func urls(text: String, expected: String) {
        #expect(Redaction.urls(in: text) == expected)
    }

    @Test("known secrets are masked wherever they appear, also decoded")
    func mask() {
        let secrets = Redaction.secrets(in: "--index-url https://me:s%40cret@h/simple\n-i http://tok_en@h ")
        #expect(Set(secrets) == ["s%40cret", "s@cret", "tok_en"])
        let mask = SecretMask(secrets + ["abc"])
        #expect(mask("got s@cret, s%40cret and tok_en, abc") == "got ***, *** and ***, abc")
    }
}
