/// Who has which of a bounded number of connections: lent in the order in which they are asked for, the one that was used last first, so that the others grow old and
/// are closed.
struct LeaseBook<Connection> {
    enum Grant {
        /// A connection that was used before.
        case used(Connection)
        /// Leave to open one.
        case fresh
    }

    private let capacity: Int
    private var lent = 0
    private var idle: [(connection: Connection, since: Int64)] = []
    private var waiting: [Int] = []

    init(capacity: Int) { self.capacity = capacity }

    var isAnyIdle: Bool { !self.idle.isEmpty }

    /// - Returns: `nil` where `waiter` has to wait for what ``giveBack(_:at:)`` hands on.
    mutating func lease(_ waiter: Int) -> Grant? {
        if self.lent + self.idle.count < self.capacity || !self.idle.isEmpty { return self.grant() }
        self.waiting.append(waiter)
        return nil
    }

    /// - Returns: whether it was still waiting.
    mutating func giveUp(_ waiter: Int) -> Bool {
        guard let index = self.waiting.firstIndex(of: waiter) else { return false }
        self.waiting.remove(at: index)
        return true
    }

    /// - Parameter connection: `nil` where it was closed.
    /// - Returns: whose turn it is now.
    mutating func giveBack(_ connection: Connection?, at time: Int64) -> (waiter: Int, grant: Grant)? {
        self.lent -= 1
        if let connection { self.idle.append((connection, time)) }
        guard !self.waiting.isEmpty else { return nil }
        return (self.waiting.removeFirst(), self.grant())
    }

    /// Takes out the connections that have been idle since `time` or longer.
    mutating func takeIdle(since time: Int64) -> [Connection] {
        let count = self.idle.prefix { $0.since <= time }.count
        defer { self.idle.removeFirst(count) }
        return self.idle.prefix(count).map(\.connection)
    }

    private mutating func grant() -> Grant {
        self.lent += 1
        return self.idle.popLast().map { .used($0.connection) } ?? .fresh
    }
}

extension LeaseBook: Sendable where Connection: Sendable {}
extension LeaseBook.Grant: Sendable where Connection: Sendable {}
