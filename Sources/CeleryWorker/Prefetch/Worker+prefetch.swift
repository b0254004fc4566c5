import AMQP
import Logging

extension Worker {
    /// What the broker is to be told now.
    var prefetchCount: UInt16 {
        guard let settings else { return 0 }
        let count = PrefetchCount(
            processes: self.autoscaler?.bounds.maximum ?? max(self.poolSize, 1),
            multiplier: settings.prefetchMultiplier,
            waitingLimit: settings.etaTaskLimit
        )
        return count.value(waiting: self.ledger.scheduledCount + self.rates.prefetchAllowance)
    }

    /// The prefetch count rises with each message that waits for its time, so that those don't keep others away
    /// (`celery/worker/strategy.py`, `kombu/common.py`).
    func updatePrefetch() {
        guard let session, !self.isPrefetchUpdateScheduled, self.neededPrefetchCount(session) != session.prefetchCount
        else { return }
        self.isPrefetchUpdateScheduled = true
        self.background { worker in
            worker.isPrefetchUpdateScheduled = false
            guard let session = worker.session else { return }
            let count = worker.neededPrefetchCount(session)
            guard count != session.prefetchCount else { return }
            worker.session?.prefetchCount = count
            do {
                try await session.tasks.qos(prefetchCount: count, isGlobal: session.prefetchIsPerChannel)
                if !session.prefetchIsPerChannel { try await worker.renewConsumers() }
            } catch {
                // The channel is gone, and the next one starts with the right count.
                worker.logger.debug("prefetch count not changed", metadata: [LogKeys.error: "\(error)"])
            }
        }
    }

    /// Where the count applies to new consumers alone, a change costs a new consumer for each queue: it is made in large steps, and only upwards.
    private func neededPrefetchCount(_ session: Session) -> UInt16 {
        let count = self.prefetchCount
        guard !session.prefetchIsPerChannel, count > 0 else { return count }
        guard count > session.prefetchCount else { return session.prefetchCount }
        return UInt16(clamping: max(Int(count), 2 * Int(session.prefetchCount)))
    }
}
