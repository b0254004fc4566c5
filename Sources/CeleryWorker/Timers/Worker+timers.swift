import Celery
import Logging
import NIOCore

extension Worker {
    /// Seconds on a clock that never goes back.
    static func monotonicClock() -> Double { Double(NIODeadline.now().uptimeNanoseconds) / 1e9 }

    /// Notes when a job is next to be looked at.
    func setDeadline(_ id: Job.ID, due: EpochSeconds) {
        self.deadlines.insert(id, due: due) { self.ledger[$0] != nil }
        self.armTimer()
    }

    /// Keeps one timer, for whatever comes next: an `eta`, an expiry, a time limit, a token of a rate limit.
    func armTimer() {
        let now = Self.monotonicClock()
        var due = self.deadlines.next.map { now + $0 - self.wallClock() }
        for other in [self.runningLimits.due, self.rates.due(now: now)] {
            if let other { due = min(due ?? other, other) }
        }
        guard let due else { return }
        if let timer = self.timer {
            guard due < timer.due - 0.000_5 else { return }
            timer.callback.cancel()
        }
        // The wall clock may be set meanwhile, so it is looked at once in a while.
        let delay = TimeAmount.nanoseconds(Int64(max(0, min(due - now, 60)) * 1_000_000_000))
        do {
            self.timer = (due, try self.eventLoop.scheduleCallback(in: delay, handler: TimerHandler(worker: self)))
        } catch {
            // The event loop is shutting down, and with it this worker.
            self.logger.debug("no timer can be set", metadata: [LogKeys.error: "\(error)"])
        }
    }

    fileprivate func timerFired() {
        self.timer = nil
        self.deadlinesDue()
        self.limitsDue()
        self.ratesDue()
        self.armTimer()
    }
}

/// Wakes the worker.
private struct TimerHandler: NIOScheduledCallbackHandler {
    let worker: Worker

    func handleScheduledCallback(eventLoop: some EventLoop) {
        self.worker.assumeIsolated { $0.timerFired() }
    }
}
