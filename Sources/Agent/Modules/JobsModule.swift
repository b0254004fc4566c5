import AgentModules
import CeleryWorker
import NIOCore

/// `jobs.launch`: a job that runs here starts another one.
struct JobsModule: AgentModule {
    let name = "jobs"
    let worker: Worker

    /// `launch(job, id, argument, representation, queue)`: `job` is the id of the one that asks, `id` the new one's, `argument` JSON text.
    ///
    /// Errors: `not_running`, `refused`, `unknown` when the broker may have the job although it did not say so in time.
    func call(_ method: String, _ arguments: ModuleArguments, reply: ModuleReply) async throws(ModuleError)
        -> PythonValue
    {
        guard method == "launch" else { throw .unknownMethod("jobs.\(method)") }
        let parent = try arguments.string("job")
        let id = try arguments.string("id")
        let argument = ByteBuffer(string: try arguments.string("argument"))
        let representation = try arguments.string("representation")
        let queue = try arguments.optionalString("queue")
        do throws(LaunchError) {
            try await self.worker.launch(
                from: parent,
                id: id,
                argument: argument,
                representation: representation,
                queue: queue,
                pid: arguments.caller.pid
            )
        } catch {
            throw ModuleError(error.kind, "\(error)")
        }
        return .none
    }
}

extension LaunchError {
    fileprivate var kind: String {
        switch self {
        case .notRunning: "not_running"
        case .refused: "refused"
        case .unknown: "unknown"
        }
    }
}
