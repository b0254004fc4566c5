import AMQP
import Agent
import CeleryWorker
import PythonPool

/// An error that ends the process: what to print, and with which status to exit.
struct StartupFailure {
    private let status: ExitStatus
    private let lines: [String]

    /// - Parameter broker: what the broker's address was read from.
    init(_ error: any Error, broker: String) {
        switch error {
        case let error as any StartupError:
            self.status = error.exitStatus
            self.lines = [error.message] + error.details
        case let error as LoadFailure:
            switch error.kind {
            case "usage": self.status = .usage
            case "invalid": self.status = .configuration
            default: self.status = .software
            }
            let prefix = self.status == .software ? "the project's code can't be loaded: " : ""
            self.lines = [prefix + error.message] + (error.traceback.isEmpty ? [] : [error.traceback])
        case let error as ConfigurationProblem:
            self.status = .configuration
            self.lines = ["\(error)"]
        case let error as AMQPError:
            self.status = error.isPermanent ? .configuration : .unavailable
            self.lines = ["the broker (\(broker)): \(error)"]
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
