/// How often values fell into ranges that are fixed once and for all, as Prometheus counts them.
public struct Histogram: Sendable, Equatable {
    /// The upper bounds of the ranges, in seconds; a last one has none.
    public static let bounds = [0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800]

    /// How many values fell into each range, the last one included.
    public private(set) var counts = [Int](repeating: 0, count: Self.bounds.count + 1)
    /// The sum of all values.
    public private(set) var sum = 0.0

    public init() {}

    /// How many values there were.
    public var count: Int { self.counts.reduce(0, +) }

    public mutating func observe(_ value: Double) {
        self.counts[Self.bounds.firstIndex { value <= $0 } ?? Self.bounds.count] += 1
        self.sum += value
    }
}
