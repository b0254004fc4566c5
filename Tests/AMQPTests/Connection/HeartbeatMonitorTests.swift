import NIOCore
import Testing

@testable import AMQP

@Suite("Heartbeat monitor")
struct HeartbeatMonitorTests {
    private static let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private static func at(_ milliseconds: Int64) -> NIODeadline { Self.start + .milliseconds(milliseconds) }

    @Test("none where none were agreed on")
    func none() {
        #expect(HeartbeatMonitor(seconds: 0, now: Self.start) == nil)
    }

    @Test("one is sent each half interval without other bytes, and none beside other bytes")
    func sends() throws {
        var monitor = try #require(HeartbeatMonitor(seconds: 10, now: Self.start))
        #expect(monitor.tickInterval == .seconds(5))
        #expect(monitor.tick(now: Self.at(5000)) == .send)
        #expect(monitor.tick(now: Self.at(10_000)) == .send)
        monitor.didWrite(now: Self.at(14_000))
        #expect(monitor.tick(now: Self.at(15_000)) == .none)
        monitor.didRead(now: Self.at(15_000))
        #expect(monitor.tick(now: Self.at(20_000)) == .send, "at most one interval between two signs of life")
    }

    @Test("two intervals without bytes are silence")
    func silence() throws {
        var monitor = try #require(HeartbeatMonitor(seconds: 10, now: Self.start))
        #expect(monitor.tick(now: Self.at(19_999)) != .peerIsSilent)
        #expect(monitor.tick(now: Self.at(20_000)) == .peerIsSilent)
        var reader = try #require(HeartbeatMonitor(seconds: 10, now: Self.start))
        reader.didRead(now: Self.at(15_000))
        #expect(reader.tick(now: Self.at(34_999)) != .peerIsSilent)
        #expect(reader.tick(now: Self.at(35_000)) == .peerIsSilent)
    }

    @Test("a peer that we don't read is not silent, and we still give signs of life")
    func paused() throws {
        var monitor = try #require(HeartbeatMonitor(seconds: 10, now: Self.start))
        for second in stride(from: Int64(5), through: 100, by: 5) {
            #expect(monitor.tick(now: Self.at(second * 1000), isReading: false) == .send)
        }
        #expect(monitor.tick(now: Self.at(119_000)) != .peerIsSilent, "counted from the last tick that did not read")
        #expect(monitor.tick(now: Self.at(120_000)) == .peerIsSilent)
    }
}
