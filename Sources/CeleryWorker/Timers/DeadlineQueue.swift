import HeapModule

/// Jobs by the time at which they are due; the soonest first.
///
/// An entry is 16 bytes, so that a hundred thousand jobs can wait. An entry whose job has gone stays until its time has come, or until such entries
/// are the greater part: whoever takes a due entry asks whether it still counts.
struct DeadlineQueue: Sendable {
    private struct Entry: Comparable {
        var due: Double
        var job: Job.ID

        static func < (left: Entry, right: Entry) -> Bool {
            left.due != right.due ? left.due < right.due : left.job < right.job
        }
    }

    private var heap = Heap<Entry>()
    /// At how many entries it is next looked for those whose job has gone.
    private var sweepCount = Self.leastSweepCount

    private static let leastSweepCount = 4096

    /// When the soonest entry is due.
    var next: Double? { self.heap.min?.due }

    var count: Int { self.heap.count }

    /// - Parameter isLive: whether a job still waits; asked only now and then.
    mutating func insert(_ job: Job.ID, due: Double, isLive: (Job.ID) -> Bool) {
        if self.heap.count >= self.sweepCount {
            self.heap = Heap(self.heap.unordered.filter { isLive($0.job) })
            self.sweepCount = max(Self.leastSweepCount, 2 * self.heap.count)
        }
        self.heap.insert(Entry(due: due, job: job))
    }

    /// Takes the soonest entry if it is due by `time`.
    mutating func popDue(by time: Double) -> Job.ID? {
        guard let entry = self.heap.min, entry.due <= time else { return nil }
        self.heap.removeMin()
        return entry.job
    }
}
