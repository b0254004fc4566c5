import JSON
import NIOCore
import Testing

@testable import CeleryWorker

@Suite("Gossip")
struct GossipTests {
    private static func gossip() -> Gossip { Gossip(node: "me@h", pid: 7) }

    private static func alive(_ node: String, isOnline: Bool = false, clock: Int64? = 5) -> GossipEvent {
        .alive(node: node, isOnline: isOnline, clock: clock, frequency: 2)
    }

    private static func candidate(_ process: String, clock: Int64, topic: String = "task") -> Gossip.Candidate {
        Gossip.Candidate(clock: clock, process: process, topic: topic, action: ["task": "t"])
    }

    // MARK: Neighbours

    @Test func `a neighbour joins once, and is heard from then on`() {
        var gossip = Self.gossip()
        #expect(
            gossip.received(Self.alive("a@h"), now: 0) == [.adjustClock(to: 5), .joined(node: "a@h")]
        )
        #expect(gossip.received(Self.alive("a@h", clock: 9), now: 1) == [.adjustClock(to: 9)])
        #expect(gossip.nodes == ["a@h"])
        // It was started anew.
        #expect(
            gossip.received(Self.alive("a@h", isOnline: true), now: 2) == [.adjustClock(to: 5), .joined(node: "a@h")]
        )
    }

    @Test func `a neighbour that says so leaves`() {
        var gossip = Self.gossip()
        _ = gossip.received(Self.alive("a@h"), now: 0)
        #expect(
            gossip.received(.offline(node: "a@h", clock: 6), now: 1) == [.adjustClock(to: 6), .left(node: "a@h")]
        )
        #expect(gossip.nodes == [])
        #expect(gossip.tick(now: 100) == [])
    }

    @Test func `a neighbour that misses two heartbeats is told of once`() {
        var gossip = Self.gossip()
        _ = gossip.received(Self.alive("a@h"), now: 0)
        _ = gossip.received(Self.alive("b@h"), now: 3)
        #expect(gossip.tick(now: 3.9) == [])
        #expect(gossip.tick(now: 4) == [.missedHeartbeat(node: "a@h")])
        #expect(gossip.tick(now: 4) == [])
        #expect(gossip.nodes == ["b@h"])
    }

    @Test func `one's own events are no neighbour's`() {
        var gossip = Self.gossip()
        #expect(gossip.received(Self.alive("me@h", isOnline: true), now: 0) == [.adjustClock(to: nil)])
        #expect(gossip.received(.offline(node: "me@h", clock: 3), now: 0) == [.adjustClock(to: nil)])
        #expect(gossip.nodes == [])
    }

    // MARK: Elections

    @Test func `a lone worker elects itself`() {
        var gossip = Self.gossip()
        let own = Self.candidate("me@h.7", clock: 3)
        gossip.hold("e", now: 0)
        #expect(gossip.received(.elect(own, election: "e"), now: 0) == [.acknowledge(election: "e")])
        #expect(
            gossip.received(.acknowledged(node: "me@h", election: "e"), now: 0) == [.won(own, election: "e")]
        )
        #expect(gossip.received(.acknowledged(node: "me@h", election: "e"), now: 0) == [])
    }

    @Test(arguments: [(mine: Int64(3), other: Int64(4), wins: true), (4, 3, false), (4, 4, false)])
    func `the lowest clock wins, then the lowest name`(_ clocks: (mine: Int64, other: Int64, wins: Bool)) {
        var gossip = Self.gossip()
        _ = gossip.received(Self.alive("a@h"), now: 0)
        let own = Self.candidate("me@h.7", clock: clocks.mine)
        let other = Self.candidate("a@h.1", clock: clocks.other)
        gossip.hold("e", now: 0)
        #expect(gossip.received(.elect(own, election: "e"), now: 0) == [.acknowledge(election: "e")])
        #expect(gossip.received(.elect(other, election: "e"), now: 0) == [.acknowledge(election: "e")])
        #expect(
            gossip.received(.acknowledged(node: "a@h", election: "e"), now: 0)
                == [clocks.wins ? .won(own, election: "e") : .elected(process: "a@h.1", election: "e")]
        )
    }

    @Test func `an election waits for as many voices as there are neighbours`() {
        var gossip = Self.gossip()
        _ = gossip.received(Self.alive("a@h"), now: 0)
        _ = gossip.received(Self.alive("b@h"), now: 0)
        let own = Self.candidate("me@h.7", clock: 3)
        gossip.hold("e", now: 0)
        _ = gossip.received(.elect(own, election: "e"), now: 0)
        #expect(gossip.received(.acknowledged(node: "a@h", election: "e"), now: 0) == [])
        #expect(gossip.received(.acknowledged(node: "b@h", election: "e"), now: 0) == [.won(own, election: "e")])
    }

    @Test func `an acknowledgement that overtakes its candidate is kept`() {
        var gossip = Self.gossip()
        let own = Self.candidate("me@h.7", clock: 3)
        gossip.hold("e", now: 0)
        #expect(gossip.received(.acknowledged(node: "me@h", election: "e"), now: 0) == [])
        #expect(
            gossip.received(.elect(own, election: "e"), now: 0)
                == [.acknowledge(election: "e"), .won(own, election: "e")]
        )
    }

    @Test func `who is not told of an election acknowledges, and decides nothing`() {
        var gossip = Self.gossip()
        let other = Self.candidate("a@h.1", clock: 3)
        #expect(gossip.received(.elect(other, election: "e"), now: 0) == [.acknowledge(election: "e")])
        #expect(gossip.received(.acknowledged(node: "a@h", election: "e"), now: 0) == [])
    }

    @Test func `an election that nobody decides is forgotten`() {
        var gossip = Self.gossip()
        _ = gossip.received(.elect(Self.candidate("a@h.1", clock: 1), election: "e"), now: 0)
        _ = gossip.tick(now: 61)
        gossip.hold("e", now: 61)
        #expect(gossip.received(.acknowledged(node: "a@h", election: "e"), now: 61) == [])
    }

    // MARK: Events

    private static func event(_ key: String, _ body: String, sender: String? = "a@h") throws -> GossipEvent {
        try GossipEvent(routingKey: key, sender: sender, body: ByteBuffer(string: body))
    }

    @Test func `events are read as Celery's workers write them`() throws {
        #expect(
            try Self.event("worker.heartbeat", #"{"hostname": "a@h", "clock": 4, "freq": 2.0}"#)
                == .alive(node: "a@h", isOnline: false, clock: 4, frequency: 2)
        )
        #expect(
            try Self.event("worker.online", #"{"hostname": "b@h"}"#, sender: nil)
                == .alive(node: "b@h", isOnline: true, clock: nil, frequency: 60)
        )
        #expect(try Self.event("worker.offline", #"{"clock": 4}"#) == .offline(node: "a@h", clock: 4))
        #expect(
            try Self.event(
                "worker.elect",
                #"{"hostname": "a@h", "pid": 1, "clock": 3, "id": "e", "topic": "task", "action": {"task": "t"}, "cver": 1}"#
            ) == .elect(Self.candidate("a@h.1", clock: 3), election: "e")
        )
        #expect(
            try Self.event("worker.elect.ack", #"{"hostname": "a@h", "id": "e"}"#)
                == .acknowledged(node: "a@h", election: "e")
        )
    }

    @Test(arguments: [
        ("worker.elect", "{}"), ("worker.elect.ack", "{}"), ("worker.elect", "7"), ("worker.heartbeat", "["),
        (
            "worker.elect",
            #"{"hostname": "a@h", "pid": 1, "clock": "3", "id": "e", "topic": "t", "action": 1, "cver": 1}"#
        ),
    ])
    func `what is no event is told as such`(_ event: (key: String, body: String)) {
        #expect(throws: GossipEvent.Problem.self) { try Self.event(event.key, event.body) }
    }

    // MARK: Mingle

    @Test func `replies to hello are read by node`() throws {
        let body = ByteBuffer(
            string: #"{"a@h": {"revoked": {"x": [1.5, "x"]}, "clock": 12}, "me@h": null, "b@h": {"error": "no"}}"#
        )
        #expect(
            try HelloReply.list(body) == [
                HelloReply(node: "a@h", clock: 12, revoked: ["x": [1.5, "x"]]),
                HelloReply(node: "b@h", clock: nil, revoked: nil),
            ]
        )
        #expect(try HelloReply.list(ByteBuffer(string: "[]")) == [])
    }

    @Test func `names are of the form of UUIDs, and differ`() {
        let name = UniqueName.make()
        #expect(name.split(separator: "-").map(\.count) == [8, 4, 4, 4, 12])
        #expect(Array(name)[14] == "4")
        #expect("89ab".contains(Array(name)[19]))
        #expect(name != UniqueName.make())
    }
}
