import Logging
import PythonPool

extension Worker {
    /// Lets the number of Python workers follow the work; called with each message, and now and then.
    func autoscale() {
        guard self.autoscaler != nil else { return }
        let jobs = self.ledger.jobs.count - self.ledger.scheduledCount
        let change = self.autoscaler?.scale(jobs: jobs, processes: self.poolSize, now: Self.monotonicClock())
        if let change { self.apply(change) }
    }

    func apply(_ change: Autoscaler.Change) {
        switch change {
        case .grow(let count):
            self.logger.info("scaling up", metadata: [LogKeys.processes: "\(count)"])
            self.growPool(by: count)
        case .shrink(let count):
            self.logger.info("scaling down", metadata: [LogKeys.processes: "\(count)"])
            do throws(PoolError) {
                try self.shrinkPool(by: count)
            } catch {
                self.logger.debug("not scaled down", metadata: [LogKeys.error: "\(error)"])
            }
        }
    }

    /// Looks at regular times whether fewer workers would do.
    func runAutoscaler() async {
        guard (try? await self.wait(until: { $0.settings != nil })) != nil, let settings, self.autoscaler != nil else {
            return
        }
        while (try? await Task.sleep(for: .seconds(settings.autoscaleKeepAlive))) != nil { self.autoscale() }
    }

    // MARK: The pool's size

    /// How many Python workers there are to be.
    var poolSize: Int { self.pool.assumeIsolated { $0.size } }

    func growPool(by count: Int) { self.pool.assumeIsolated { $0.grow(by: count) } }

    /// Lets idle workers go.
    /// - Throws: ``PoolError/allBusy`` if there are not as many.
    func shrinkPool(by count: Int) throws(PoolError) {
        let result = self.pool.assumeIsolated { pool in
            Result { () throws(PoolError) in try pool.shrink(by: count) }
        }
        try result.get()
    }
}
