import Celery

extension Worker {
    /// Concludes a job that has run; one that is acknowledged late once whoever has to know of it first has been waited for. Until then it stays in the ledger: a
    /// shutdown waits for it, and a redelivery is adopted.
    func beforeConclusion(of id: Job.ID, _ conclude: @escaping @Sendable (isolated Worker) -> Void) {
        guard let wait = self.configuration.beforeLateAcknowledgement, let job = self.ledger[id],
            job.options.acksLate, !job.isSettled
        else { return conclude(self) }
        let taskID = job.message.id
        self.background { worker in
            await wait(taskID)
            conclude(worker)
        }
    }
}
