import DequeModule
import NIOCore

/// What retrievers have put into their queues, and how many bytes of bodies have come.
///
/// Each queue is bounded: where nobody retrieves, the oldest values make room.
struct CapturedValues {
    /// Of one queue; a single value may be larger.
    static let maximumBytes = 64 << 20
    static let maximumCount = 10_000

    private struct Queue {
        var values: Deque<ByteBuffer> = []
        var bytes = 0
        var dropped = 0
    }

    private var queues: [String: Queue] = [:]
    /// Bytes of response bodies.
    private(set) var dataCount = 0

    mutating func count(_ bytes: Int) { self.dataCount += max(0, bytes) }

    /// - Returns: whether this is the first time that the queue drops a value.
    mutating func add(_ value: ByteBuffer, to name: String) -> Bool {
        let isFirstDrop: Bool
        var queue = self.queues.removeValue(forKey: name) ?? Queue()
        // A copy: what was received is a part of a buffer that would be kept as a whole.
        queue.values.append(ByteBuffer(bytes: value.readableBytesView))
        queue.bytes += value.readableBytes
        let before = queue.dropped
        while queue.values.count > Self.maximumCount || (queue.bytes > Self.maximumBytes && queue.values.count > 1) {
            guard let oldest = queue.values.popFirst() else { break }
            queue.bytes -= oldest.readableBytes
            queue.dropped += 1
        }
        isFirstDrop = before == 0 && queue.dropped > 0
        self.queues[name] = queue
        return isFirstDrop
    }

    /// Empties a queue.
    /// - Returns: its values in their order, and how many it had dropped.
    mutating func take(_ name: String) -> (values: Deque<ByteBuffer>, dropped: Int) {
        guard let queue = self.queues.removeValue(forKey: name) else { return ([], 0) }
        return (queue.values, queue.dropped)
    }
}
