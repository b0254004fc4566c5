import Celery
public import CeleryWorker
import Glibc
import JSON
public import Logging
public import NIOCore
import PythonPool

/// A worker for any Celery project: what `celery -A MODULE worker` runs.
public struct CeleryApp: Sendable {
    private let configuration: CeleryAppConfiguration
    private let commandLine: [String]
    private let environment: [String: String]
    private let eventLoop: any EventLoop
    private let logger: Logger

    /// - Parameters:
    ///   - commandLine: the arguments of this process.
    ///   - environment: of this process; the Python processes inherit it.
    public init(
        configuration: CeleryAppConfiguration,
        commandLine: [String],
        environment: [String: String],
        on eventLoop: any EventLoop,
        logger: Logger
    ) {
        self.configuration = configuration
        self.commandLine = commandLine
        self.environment = environment
        self.eventLoop = eventLoop
        self.logger = logger
    }

    /// Works until it is asked to stop.
    /// - Parameter requests: what signals ask for, as they come.
    /// - Throws: ``StartupError``, or what made going on impossible.
    public func run(
        requests: AsyncStream<Worker.OperatorRequest>
    ) async throws -> Worker.Ending {
        let pidFile = try self.configuration.pidFile.map { path in
            try PidFile(self.configuration.nodeName.expanding(path))
        }
        defer { pidFile?.remove() }
        let locator = PythonLocator(environment: self.environment)
        let host = try WorkerHost(
            self.configuration.worker,
            pool: PoolConfiguration(
                python: try locator.python(configured: self.configuration.python),
                runtime: try locator.runtime(),
                environment: self.environment.merging(self.configuration.celeryVariables) { $1 },
                output: .inherited
            ),
            modules: self.modules,
            probes: self.configuration.probes,
            on: self.eventLoop,
            logger: self.logger
        )
        let worker = host.worker
        return try await host.run(requests: requests) {
            let request = self.configuration.loadRequest(commandLine: self.commandLine).encoded
            return try await worker.run { pool in try Manifest(parsing: try await pool.load(request)) }
        }
    }

    /// Most projects use no modules, and may have variables of other meanings under the same names: those keep no worker from starting.
    private var modules: WorkerHost.Modules? {
        do throws(ConfigurationErrors) {
            return WorkerHost.Modules(
                configuration: try BuiltInModules.configuration(environment: self.environment),
                outboxName: self.configuration.nodeName.description
            )
        } catch {
            self.logger.info("the built-in modules are not served", metadata: [LogKeys.error: "\(error.message)"])
            return nil
        }
    }

    /// As Python's `socket.gethostname()` tells it.
    public static var hostName: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
