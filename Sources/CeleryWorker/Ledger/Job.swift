public import AMQP
public import Celery
import NIOCore

/// One delivery that this worker has taken on, from receipt to the end of its task.
public struct Job: Sendable {
    /// A number of this process's own; the task's id is the message's, and need not be unique.
    public typealias ID = UInt64

    public enum Phase: Sendable, Equatable {
        /// Held until its `eta`.
        case scheduled(until: EpochSeconds)
        /// Held back by its task's rate limit.
        case limited
        /// Ready, and waiting for a Python worker.
        case reserved
        /// Running in the worker process `pid`.
        case running(pid: Int32, since: EpochSeconds)
    }

    /// Whether the broker has been told what becomes of the delivery.
    public enum Delivery: Sendable, Equatable {
        /// Unsettled; this is how to settle it.
        case open(DeliveryToken)
        /// Its channel is gone, so the broker will deliver it anew.
        case lost
        /// The broker has been told over the channel by which it came, or is yet to be told.
        case settled(Settlement, DeliverySource?)
    }

    public let id: ID
    public var message: TaskMessage
    public let options: TaskOptions
    public var phase: Phase
    public var delivery: Delivery

    /// Acknowledged or rejected, as `celery inspect active` tells.
    public var isSettled: Bool {
        if case .settled = self.delivery { return true }
        return false
    }

    /// Computed when it is asked for, which is seldom.
    public var fingerprint: MessageFingerprint { MessageFingerprint(self.message) }

    /// Held here, and not given to the pool.
    public var isWaiting: Bool {
        switch self.phase {
        case .scheduled, .limited: true
        case .reserved, .running: false
        }
    }

    public var isRunning: Bool {
        if case .running = self.phase { return true }
        return false
    }
}

/// Tells whether two deliveries carry the same message.
///
/// A redelivery may differ in headers that the broker adds (`x-delivery-count`), so only what Celery's client writes counts.
public struct MessageFingerprint: Sendable, Hashable {
    private let value: Int

    public init(_ message: TaskMessage) {
        var hasher = Hasher()
        hasher.combine(message.id)
        hasher.combine(message.task)
        hasher.combine(message.retries)
        hasher.combine(message.replacedTaskNesting)
        message.body.withUnsafeReadableBytes { hasher.combine(bytes: $0) }
        self.value = hasher.finalize()
    }
}
