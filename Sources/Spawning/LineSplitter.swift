public import NIOCore

/// Cuts the bytes of a pipe into lines of bounded length.
public struct LineSplitter {
    private var pending: [UInt8] = []
    private let limit: Int

    /// - Parameter limit: the longest line, in bytes.
    public init(limit: Int = 65536) {
        self.limit = limit
    }

    /// Takes bytes and calls `body` with each complete line, or piece of a line that is too long.
    public mutating func append(_ bytes: ByteBuffer, _ body: (String) -> Void) {
        var rest = bytes.readableBytesView[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            pending.append(contentsOf: rest[rest.startIndex..<end])
            cut(body)
            emit(body)
            rest = rest[rest.index(after: end)...]
        }
        pending.append(contentsOf: rest)
        cut(body)
    }

    /// The stream has ended: calls `body` with what is left.
    public mutating func finish(_ body: (String) -> Void) {
        if !pending.isEmpty { emit(body) }
    }

    private mutating func cut(_ body: (String) -> Void) {
        while pending.count > limit {
            // Not in the middle of a character.
            var end = limit
            while end > limit - 4, pending[end] & 0xC0 == 0x80 { end -= 1 }
            body(String(decoding: pending[..<end], as: UTF8.self))
            pending.removeFirst(end)
        }
    }

    private mutating func emit(_ body: (String) -> Void) {
        if pending.last == UInt8(ascii: "\r") { pending.removeLast() }
        body(String(decoding: pending, as: UTF8.self))
        pending.removeAll(keepingCapacity: true)
    }
}
