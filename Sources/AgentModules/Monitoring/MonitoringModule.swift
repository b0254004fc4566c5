import Celery
import Glibc
import JSON
public import Logging
import NIOCore
import NIOHTTP1

/// `monitoring.*`: tells the platform's backend of jobs and their events.
public struct MonitoringModule: AgentModule {
    public let name = "monitoring"
    private let http: ModuleHTTPClient
    private let endpoint: HTTPEndpoint
    private let logger: Logger
    private let wallClock: @Sendable () -> Int64
    /// For one request with all its repetitions.
    private let limit: Duration

    /// - Parameter url: `BACKEND_URL`.
    public init(url: String, http: ModuleHTTPClient, logger: Logger) {
        self.init(url: url, http: http, logger: logger, limit: .seconds(10), wallClock: Self.now)
    }

    /// - Parameter wallClock: milliseconds since 1970.
    init(
        url: String,
        http: ModuleHTTPClient,
        logger: Logger,
        limit: Duration,
        wallClock: @escaping @Sendable () -> Int64
    ) {
        self.endpoint = HTTPEndpoint(url)
        self.http = http
        self.logger = logger
        self.limit = limit
        self.wallClock = wallClock
    }

    public func run() async { await self.http.run() }

    /// - `create_job(run_uuid, job_uuid, job_associated_agent)`
    /// - `record_event(job_uuid, content, status, ends_job)`; with `ends_job` the job's status is set after it.
    ///
    /// Each returns once the backend has taken it on. Errors: `timeout`, `network`, `status` (details: `status`, `body`), `answer`.
    public func call(_ method: String, _ arguments: ModuleArguments, reply: ModuleReply) async throws(ModuleError)
        -> PythonValue
    {
        let time = ISO8601.format(milliseconds: self.wallClock())
        switch method {
        case "create_job":
            try await self.deliver(try .creation(arguments, time: time))
        case "record_event":
            let status = try MonitoringMessage.Status(arguments)
            try await self.deliver(try .event(arguments, status, uuid: MonitoringMessage.newUUID(), time: time))
            if arguments["ends_job"]?.bool == true { try await self.deliver(try .end(arguments, status)) }
        default: throw .unknownMethod("monitoring.\(method)")
        }
        return .none
    }

    /// Sends a message until the backend has it. The backend may have taken it on although no answer came, so each is one that may arrive twice: its UUID
    /// says which it is.
    private func deliver(_ message: MonitoringMessage) async throws(ModuleError) {
        let request = HTTPModuleRequest(message.method, self.endpoint, message.path, body: message.body.encoded)
        let deadline = ContinuousClock.now + self.limit
        var backoff = MonitoringBackoff()
        while true {
            let problem: ModuleError
            switch await self.http.attempt(request, deadline: deadline) {
            case .success(let response):
                switch MonitoringMessage.Verdict(response.status, isRepeated: backoff.attempts > 0) {
                case .delivered: return
                case .refused: throw response.moduleError(request)
                case .again: problem = response.moduleError(request)
                }
            case .failure(let failure):
                problem = failure.moduleError(request)
                guard case .network = failure else { throw problem }
            }
            let next = ContinuousClock.now + backoff.next()
            guard next < deadline else { throw problem }
            self.logger.debug("the backend is asked again", metadata: [LogKeys.error: "\(problem)"])
            do {
                try await Task.sleep(until: next)
            } catch {
                throw problem
            }
        }
    }

    private static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
