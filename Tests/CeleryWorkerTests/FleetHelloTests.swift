import JSON
import Testing

@testable import CeleryWorker

@Suite("A fleet's hello")
struct FleetHelloTests {
    @Test(
        "All of a small fleet are to answer, of a large one ten",
        arguments: [(0, 1), (1, 1), (2, 1), (11, 1), (21, 0.5), (401, 0.025)] as [(Int, Double)]
    )
    func share(consumers: Int, share: Double) {
        #expect(FleetHello(fleet: "r", consumers: consumers).share == share)
    }

    @Test("It is read as it is written")
    func reading() {
        let hello = FleetHello(fleet: "r", consumers: 101)
        #expect(FleetHello(hello.arguments) == hello)
        #expect(FleetHello(["from_node": "a@h", "revoked": [:]]) == nil)
        #expect(FleetHello(["fleet": 7]) == nil)
        #expect(FleetHello(["fleet": "r", "share": "much"])?.share == 1)
    }

    @Test(
        "Who is of the fleet, and knows of something, answers by chance",
        arguments: [
            ("r", true, 0.09, true), ("r", true, 0.1, false), ("r", false, 0, false), ("s", true, 0, false),
            (nil, true, 0, false),
        ] as [(String?, Bool, Double, Bool)]
    )
    func answering(fleet: String?, knowsRevoked: Bool, chance: Double, isAnswered: Bool) {
        let hello = FleetHello(fleet: "r", consumers: 101)
        #expect(hello.isAnswered(by: fleet, knowsRevoked: knowsRevoked, chance: chance) == isAnswered)
    }
}
