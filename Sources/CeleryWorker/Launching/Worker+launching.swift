import AMQP
import Celery
public import NIOCore

/// Why a job could not start another one.
public enum LaunchError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The job that asks does not run here.
    case notRunning(String)
    /// The broker does not have the new job.
    case refused(String)
    /// The connection was lost, or no answer came in time: the broker may have it.
    case unknown(String)

    public var description: String {
        switch self {
        case .notRunning(let id): "the job \(id) does not run here; a job is started from within one"
        case .refused(let text): "the job was not started: \(text)"
        case .unknown(let text): "it is not known whether the job was started: \(text)"
        }
    }
}

extension Worker {
    /// Publishes a job for the task that runs as `parent`, and returns once the broker has taken it on.
    /// - Parameters:
    ///   - parent: the id of a task that runs here.
    ///   - id: the new task's.
    ///   - argument: the task's one argument, as JSON text.
    ///   - representation: of the arguments, for people.
    ///   - queue: by default the one that the parent came from.
    ///   - pid: of the process that asks.
    public func launch(
        from parent: String,
        id: String,
        argument: ByteBuffer,
        representation: String,
        queue: String?,
        pid: Int32
    ) async throws(LaunchError) {
        // Not each job's start is reported.
        guard let job = self.ledger.job(taskID: parent), !job.isWaiting else { throw .notRunning(parent) }
        let message = job.message.child(
            id: id,
            argument: argument,
            representation: representation,
            queue: queue ?? job.message.deliveryInfo.queue,
            origin: "gen\(pid)@\(self.configuration.nodeName.host)"
        )
        let outcome: PublishResult
        do {
            outcome = try await self.publisher.publishConfirmed(message)
        } catch {
            throw .unknown("\(error)")
        }
        switch outcome {
        case .acknowledged: return
        case .refused: throw .refused("the broker could not take it on")
        case .returned(let returned):
            throw .refused("no queue '\(message.routingKey)' takes it (\(returned.replyText))")
        }
    }
}
