import JSON
import NIOCore
import Testing

@testable import AgentModules

@Suite("Proxy: what is kept and decided")
struct ProxyStateTests {
    @Test(
        "a mitmdump that has ended is started at once, then after pauses, and given up at the fifth end within a minute"
    )
    func restarts() {
        var policy = RestartPolicy()
        let begin = ContinuousClock.now
        let pauses = [0, 1, 2, 3, 59].map { policy.ended(at: begin + .seconds($0)) }
        #expect(pauses == [.zero, .milliseconds(200), .milliseconds(400), .milliseconds(800), nil])
    }

    @Test("ends that lie a minute back are forgotten")
    func forgets() {
        var policy = RestartPolicy()
        let begin = ContinuousClock.now
        let pauses = (0..<20).map { policy.ended(at: begin + .seconds(60 * $0)) }
        #expect(pauses.allSatisfy { $0 == .zero })
    }

    @Test("a queue gives its values in order and is then empty")
    func order() {
        var captured = CapturedValues()
        let drops = (1...3).map { captured.add(ByteBuffer(integer: UInt8($0)), to: "a") }
        _ = captured.add(ByteBuffer(string: "other"), to: "b")
        let taken = ["a", "a", "b", "never"].map { captured.take($0).values }
        #expect(drops == [false, false, false])
        #expect(taken[0].map { $0.getInteger(at: 0, as: UInt8.self) } == [1, 2, 3])
        #expect(taken.map(\.count) == [3, 0, 1, 0])
    }

    @Test("a queue that nobody empties drops its oldest values, and tells so once")
    func number() {
        var captured = CapturedValues()
        var told = 0
        for number in 0..<(CapturedValues.maximumCount + 7) where captured.add(ByteBuffer(integer: number), to: "a") {
            told += 1
        }
        let (values, dropped) = captured.take("a")
        #expect((values.count, dropped, told) == (CapturedValues.maximumCount, 7, 1))
        #expect(values.first?.getInteger(at: 0, as: Int.self) == 7)
    }

    @Test("a queue is bounded in bytes; a single value that is larger is kept")
    func size() {
        var captured = CapturedValues()
        let half = ByteBuffer(repeating: 0, count: CapturedValues.maximumBytes / 2 + 1)
        let drops = [captured.add(half, to: "a"), captured.add(half, to: "a")]
        #expect(drops == [false, true])
        let rest = captured.take("a")
        #expect(rest.values.count == 1)
        _ = captured.add(ByteBuffer(repeating: 0, count: CapturedValues.maximumBytes + 1), to: "a")
        let large = captured.take("a")
        #expect(large.values.count == 1)
    }

    @Test("the configuration says whether there is an upstream, and who names it")
    func settings() throws {
        #expect(try ProxySettings([:]) == .none)
        #expect(try ProxySettings(["upstream_proxy_enabled": 0, "upstream_proxy_broker_type": "x"]) == .none)
        #expect(try ProxySettings(["upstream_proxy_enabled": false]) == .none)
        #expect(try ProxySettings(["upstream_proxy_enabled": 1, "upstream_proxy_broker_type": "direct"]) == .direct)
        let fields: JSONObject = [
            "upstream_proxy_enabled": 1, "upstream_proxy_broker_type": "provider", "proxy_location": "FR",
        ]
        #expect(try ProxySettings(fields) == .provider(fields))
    }

    @Test(
        "a configuration that says neither is refused",
        arguments: [
            ["upstream_proxy_enabled": 1], ["upstream_proxy_enabled": "1"], ["upstream_proxy_enabled": 3],
            ["upstream_proxy_enabled": 1, "upstream_proxy_broker_type": "Direct"],
            ["upstream_proxy_enabled": 1, "upstream_proxy_broker_type": 1],
        ] as [JSONObject]
    )
    func wrongSettings(_ configuration: JSONObject) {
        #expect { try ProxySettings(configuration) } throws: { ($0 as? ModuleError)?.kind == "configuration" }
    }

    @Test("lines of mitmproxy's log are told from what functions print")
    func lines() {
        #expect(MitmdumpCommand.isMitmproxys("[12:34:56.789] failed to listen"))
        #expect(MitmdumpCommand.isMitmproxys("[12:34:56.789][127.0.0.1:1] Client TLS handshake failed."))
        for line in ["", "[", "[]", "[12:34]", "[1, 2, 3]", "12:34:56.789] x", "[ab:cd:ef.ghi] x"] {
            #expect(!MitmdumpCommand.isMitmproxys(line))
        }
    }

    @Test("the kernel's table tells who listens, not who is connected")
    func listeners() {
        let table = [
            "sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
            "0: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0",
            "1: 0100007F:1F91 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0 20 4 30 10 -1",
            "2: 00000000000000000000000000000000:1F92 00000000000000000000000000000000:0000 0A 0:0 00:0 0 1000 0 4713 1",
            "short",
        ]
        #expect(PortHolder.listeners(8081, in: table) == ["4711"])
        #expect(PortHolder.listeners(8082, in: table) == ["4713"])
        #expect(PortHolder.listeners(8083, in: table).isEmpty)
    }
}

@Suite("Proxy: the control channel's frames")
struct ControlFrameTests {
    private func payload(_ head: String, _ body: String = "") -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(UInt32(head.utf8.count), endianness: .little)
        buffer.writeString(head + body)
        return buffer
    }

    @Test("what the add-on tells")
    func events() throws {
        #expect(
            try ControlEvent(parsing: self.payload(#"{"type":"ready","port":81}"#)) == .ready(port: 81)
        )
        #expect(
            try ControlEvent(parsing: self.payload(#"{"type":"answer","id":3}"#)) == .answer(id: 3, error: nil)
        )
        #expect(
            try ControlEvent(parsing: self.payload(#"{"type":"answer","id":3,"error":"no"}"#))
                == .answer(id: 3, error: "no")
        )
        #expect(
            try ControlEvent(parsing: self.payload(#"{"type":"value","queue":"é"}"#, "\u{0}bytes"))
                == .value(queue: "é", ByteBuffer(string: "\u{0}bytes"))
        )
        #expect(try ControlEvent(parsing: self.payload(#"{"type":"count","bytes":9}"#)) == .count(9))
    }

    @Test(
        "what it does not tell is an error",
        arguments: ["", "{", "[]", "{}", #"{"type":"new"}"#, #"{"type":"count"}"#]
    )
    func unknown(_ head: String) {
        #expect { try ControlEvent(parsing: self.payload(head)) } throws: { ($0 as? ModuleError)?.kind == "protocol" }
    }

    @Test("a head that is longer than its frame is an error")
    func short() {
        var buffer = self.payload(#"{"type":"count","bytes":9}"#)
        buffer.setInteger(UInt32.max, at: 0, endianness: .little)
        #expect(throws: ModuleError.self) { try ControlEvent(parsing: buffer) }
        #expect(throws: ModuleError.self) { try ControlEvent(parsing: ByteBuffer(string: "xy")) }
    }

    @Test("a command as the add-on reads it")
    func command() {
        var frame = ControlFrame.encode(["do": "sync", "id": 1])
        let total = frame.readInteger(endianness: .little, as: UInt32.self)
        let length = frame.readInteger(endianness: .little, as: UInt32.self)
        #expect(total == UInt32(frame.readableBytes + 4))
        #expect(length == UInt32(frame.readableBytes))
        #expect(String(buffer: frame) == #"{"do": "sync", "id": 1}"#)
    }
}
