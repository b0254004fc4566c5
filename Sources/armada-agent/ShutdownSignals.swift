import CeleryWorker
import Glibc
import Synchronization
import UnixSignals

/// Turns signals into what is asked of the worker, as `celery worker` understands them (`celery/apps/worker.py`).
///
/// SIGTERM: warm shutdown, or with `REMAP_SIGTERM=SIGQUIT` in the environment a cold one. SIGQUIT, or a second SIGINT: cold. SIGHUP, away from a terminal: a
/// warm shutdown, then the same command anew. SIGUSR1: the worker tells in its log what it is doing.
final class ShutdownSignals: Sendable {
    private let terminationRequest: Worker.ShutdownRequest
    private let hasTerminal = isatty(STDIN_FILENO) == 1
    private let isRestartWanted = Atomic(false)
    /// Where this process was started, from where a relative `--workdir` counts.
    private let folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)

    init(environment: [String: String]) {
        self.terminationRequest = environment["REMAP_SIGTERM"] == "SIGQUIT" ? .cold : .warm
    }

    /// Calls `body` with the requests as they come.
    func forwarding<Result: Sendable>(
        _ body: @escaping @Sendable (AsyncStream<Worker.OperatorRequest>) async throws -> Result
    ) async throws -> Result {
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sigquit, .sighup, .sigusr1)
        let (requests, continuation) = AsyncStream<Worker.OperatorRequest>.makeStream()
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                var interrupts = 0
                for await signal in signals {
                    if signal == .sigint { interrupts += 1 }
                    if let request = self.request(signal, interrupts: interrupts) { continuation.yield(request) }
                }
            }
            defer { group.cancelAll() }
            return try await body(requests)
        }
    }

    private func request(_ signal: UnixSignal, interrupts: Int) -> Worker.OperatorRequest? {
        switch signal {
        case .sigterm: return .shutdown(self.terminationRequest)
        case .sigint: return .shutdown(interrupts > 1 ? .cold : .warm)
        case .sigquit: return .shutdown(.cold)
        case .sigusr1: return .report
        case .sighup:
            // The terminal is gone, and with it whoever could see a new worker.
            if !self.hasTerminal { self.isRestartWanted.store(true, ordering: .relaxed) }
            return .shutdown(.warm)
        default: return nil
        }
    }

    /// Ends the process; after a SIGHUP the same command takes its place, under the same process number.
    func exit(_ status: Int32) -> Never {
        if status == 0, self.isRestartWanted.load(ordering: .relaxed) {
            if self.folder >= 0 { _ = fchdir(self.folder) }
            let arguments = CommandLine.arguments.map { strdup($0) } + [nil]
            execv("/proc/self/exe", arguments)
            perror("armada-agent: can't start anew")
        }
        Glibc.exit(status)
    }
}
