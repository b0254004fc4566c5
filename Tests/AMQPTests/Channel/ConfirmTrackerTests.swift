import NIOCore
import Testing

@testable import AMQP

@Suite("Confirm tracker")
struct ConfirmTrackerTests {
    @Test("every waiter comes out exactly once, whatever comes in whatever order", arguments: UInt64(0)..<200)
    func property(_ seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var tracker = ConfirmTracker<Int>()
        var model: [UInt64: (waiter: Int, identity: Int?, isReturned: Bool)] = [:]
        var published = 0
        var seen: [Int: Int] = [:]
        for _ in 0..<Int.random(in: 1...120, using: &generator) {
            switch Int.random(in: 0...9, using: &generator) {
            case 0...4:
                published += 1
                let identity = Bool.random(using: &generator) ? Int.random(in: 0...3, using: &generator) : nil
                let tag = tracker.published(waiter: published, identity: identity)
                #expect(tag == UInt64(published))
                model[tag] = (published, identity, false)
            case 5:
                let identity = Int.random(in: 0...4, using: &generator)
                let match = model.filter { $0.value.identity == identity && !$0.value.isReturned }.keys.min()
                let isTaken = tracker.returned(Self.returned(identity), identity: identity)
                #expect(isTaken == (match != nil))
                if let match { model[match]?.isReturned = true }
            default:
                let tag = UInt64(Int.random(in: 0...published, using: &generator))
                let isMultiple = Bool.random(using: &generator)
                let isAcknowledged = Bool.random(using: &generator)
                let outcomes = try tracker.settled(tag, isMultiple: isMultiple, isAcknowledged: isAcknowledged)
                let expected = model.keys.filter { isMultiple ? tag == 0 || $0 <= tag : $0 == tag }.sorted()
                #expect(outcomes.map(\.waiter) == expected.compactMap { model[$0]?.waiter })
                for (outcome, tag) in zip(outcomes, expected) {
                    seen[outcome.waiter, default: 0] += 1
                    #expect(outcome.isAcknowledged == isAcknowledged)
                    #expect((outcome.returned != nil) == (model[tag]?.isReturned == true))
                    model[tag] = nil
                }
            }
            #expect(tracker.count == model.count)
        }
        for waiter in tracker.ended() { seen[waiter, default: 0] += 1 }
        #expect(tracker.ended().isEmpty, "the end gives each back once")
        #expect(seen.count == published)
        #expect(seen.values.allSatisfy { $0 == 1 })
    }

    @Test("a confirm of what was never published is refused")
    func unknown() throws {
        var tracker = ConfirmTracker<Int>()
        _ = tracker.published(waiter: 1)
        for isMultiple in [true, false] {
            #expect(throws: AMQPError.self) {
                var tracker = tracker
                _ = try tracker.settled(2, isMultiple: isMultiple, isAcknowledged: true)
            }
        }
        #expect(tracker.count == 1)
    }

    private static func returned(_ identity: Int) -> ReturnedMessage {
        let message = Message(routingKey: "\(identity)", body: ByteBuffer())
        return ReturnedMessage(replyCode: 312, replyText: "NO_ROUTE", message: message)
    }
}
