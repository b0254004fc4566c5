import Testing

@testable import AMQP

@Suite("Recovery policy")
struct RecoveryPolicyTests {
    @Test("delays grow to their maximum")
    func growth() {
        let policy = RecoveryPolicy(initialDelay: 0.5, maximumDelay: 3, multiplier: 2, jitter: 0.5)
        let delays = (1...6).map { policy.delay(failures: $0, chance: 0) }
        #expect(delays == [0.5, 1, 2, 3, 3, 3])
        #expect(policy.delay(failures: 1_000_000, chance: 0) == 3)
        #expect(policy.delay(failures: 0, chance: 0) == 0.5)
    }

    @Test("chance takes off up to the jitter's share")
    func jitter() {
        let policy = RecoveryPolicy(initialDelay: 4, maximumDelay: 100, multiplier: 1, jitter: 0.25)
        #expect(policy.delay(failures: 1, chance: 1) == 3)
        #expect(policy.delay(failures: 1, chance: 0.5) == 3.5)
        #expect(RecoveryPolicy(initialDelay: 4, jitter: 0).delay(failures: 1, chance: 1) == 4)
    }
}
