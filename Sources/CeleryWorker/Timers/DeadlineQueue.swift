import HeapModule

/// Jobs by the time at which they are due; the soonest first.
///
/// An entry is 16 bytes, so that a hundred thousand jobs can wait. Nothing is taken out before its time: whoever takes a due entry asks
/// whether it still counts.
struct DeadlineQueue: Sendable {
    private struct Entry: Comparable {
        var due: Double
        var job: Job.ID

        static func < (left: Entry, right: Entry) -> Bool {
            left.due != right.due ? left.due < right.due : left.job < right.job
        }
    }

    private var heap = Heap<Entry>()

    /// When the soonest entry is due.
    var next: Double? { self.heap.min?.due }

    var count: Int { self.heap.count }

    mutating func insert(_ job: Job.ID, due: Double) {
        self.heap.insert(Entry(due: due, job: job))
    }

    /// Takes the soonest entry if it is due by `time`.
    mutating func popDue(by time: Double) -> Job.ID? {
        guard let entry = self.heap.min, entry.due <= time else { return nil }
        self.heap.removeMin()
        return entry.job
    }
}
