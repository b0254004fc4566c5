extension Worker {
    /// What the broker is to be told now.
    var prefetchCount: UInt16 {
        guard let settings else { return 0 }
        let count = PrefetchCount(
            processes: settings.autoscale?.maximum ?? settings.concurrency,
            multiplier: settings.prefetchMultiplier,
            waitingLimit: settings.etaTaskLimit
        )
        return count.value(waiting: self.ledger.scheduledCount)
    }
}
