/// The logical clock that orders events of several workers (`kombu/clocks.py`, `LamportClock`).
public struct LamportClock: Sendable, Equatable {
    public private(set) var value: Int64

    public init(value: Int64 = 0) { self.value = value }

    /// Before something is sent, or after something came that carries no clock.
    @discardableResult
    public mutating func forward() -> Int64 {
        self.value &+= 1
        return self.value
    }

    /// After something came that carries another's clock.
    @discardableResult
    public mutating func adjust(to other: Int64) -> Int64 {
        self.value = max(self.value, other) &+ 1
        return self.value
    }
}
