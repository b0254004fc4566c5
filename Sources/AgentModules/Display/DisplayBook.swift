import NIOConcurrencyHelpers

/// The virtual screens that there are, by their ids.
final class DisplayBook: Sendable {
    private struct State {
        var displays: [Int: VirtualDisplay] = [:]
        var lastID = 0
        /// Those that are to be run.
        var added: [Int] = []
        var isClosed = false
    }

    private let state = NIOLockedValueBox(State())
    private let wasAdded: AsyncStream<Void>
    private let wasAddedContinuation: AsyncStream<Void>.Continuation

    init() {
        (self.wasAdded, self.wasAddedContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    subscript(id: Int) -> VirtualDisplay? { self.state.withLockedValue { $0.displays[id] } }

    /// - Returns: its id; `nil` where no more are run.
    func add(_ display: VirtualDisplay) -> Int? {
        let id: Int? = self.state.withLockedValue { state in
            if state.isClosed { return nil }
            state.lastID += 1
            state.displays[state.lastID] = display
            state.added.append(state.lastID)
            return state.lastID
        }
        self.wasAddedContinuation.yield()
        return id
    }

    /// Runs what is added, until it is cancelled.
    func run() async {
        await withDiscardingTaskGroup { group in
            for await _ in self.wasAdded { self.runAdded(in: &group) }
            self.state.withLockedValue { $0.isClosed = true }
            // Cancelled, these end at once, and those who wait for them are told.
            self.runAdded(in: &group)
        }
    }

    private func runAdded(in group: inout DiscardingTaskGroup) {
        let added = self.state.withLockedValue { state in
            defer { state.added = [] }
            return state.added.compactMap { id in state.displays[id].map { (id, $0) } }
        }
        for (id, display) in added {
            group.addTask {
                await display.run()
                self.state.withLockedValue { $0.displays[id] = nil }
            }
        }
    }
}
