import AMQP
import Agent
import CeleryWorker
import PythonPool

/// An error that ends the process: what to print, and with which status to exit.
struct StartupFailure {
    private let status: ExitStatus
    private let lines: [String]

    init(_ error: any Error) {
        switch error {
        case let error as any StartupError:
            self.status = error.exitStatus
            self.lines = [error.message] + error.details
        case let error as LoadFailure:
            self.status = error.kind == "invalid" ? .configuration : .software
            let traceback = error.traceback.isEmpty ? [] : [error.traceback]
            self.lines = ["the project's code can't be loaded: \(error.message)"] + traceback
        case let error as AMQPError:
            self.status = error.isPermanent ? .configuration : .unavailable
            self.lines = ["the broker (RABBITMQ_URL): \(error)"]
        case is CancellationError:
            self.status = .success
            self.lines = []
        default:
            self.status = .software
            self.lines = ["\(error)"]
        }
    }

    /// Prints what is wrong to standard error. Returns the exit status.
    func report() -> Int32 {
        let text = self.lines.map { "armada-agent: \($0)\n" }.joined()
        DescriptorLogSink.standardError.write(line: text)
        return self.status.rawValue
    }
}
