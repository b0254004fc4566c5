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
    private let outbox: Outbox?

    /// - Parameters:
    ///   - url: `BACKEND_URL`.
    ///   - outbox: keeps what is told until it can be delivered; without one, a call lasts until it is.
    public init(url: String, http: ModuleHTTPClient, outbox: Outbox? = nil, logger: Logger) {
        self.init(url: url, http: http, outbox: outbox, logger: logger, limit: .seconds(10), wallClock: Self.now)
    }

    /// - Parameter wallClock: milliseconds since 1970.
    init(
        url: String,
        http: ModuleHTTPClient,
        outbox: Outbox?,
        logger: Logger,
        limit: Duration,
        wallClock: @escaping @Sendable () -> Int64
    ) {
        self.endpoint = HTTPEndpoint(url)
        self.http = http
        self.outbox = outbox
        self.logger = logger
        self.limit = limit
        self.wallClock = wallClock
    }

    public func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.http.run() }
            if let outbox { group.addTask { await outbox.run(self.attempt) } }
        }
    }

    /// - `create_job(run_uuid, job_uuid, job_associated_agent)`
    /// - `record_event(job_uuid, content, status, ends_job)`; with `ends_job` the job's status is set after it.
    ///
    /// Each returns once the backend has taken it on, or with an outbox once it is on the disk. Errors: `timeout`, `network`, `status` (details: `status`,
    /// `body`), `answer`; `outbox`.
    public func call(_ method: String, _ arguments: ModuleArguments, reply: ModuleReply) async throws(ModuleError)
        -> PythonValue
    {
        let messages = try self.messages(method, arguments)
        if let outbox {
            let lane = arguments["job_uuid"].map { "\($0)" } ?? ""
            try await outbox.add(lane: lane, task: arguments.caller.job, messages)
        } else {
            for message in messages { try await self.deliver(message) }
        }
        return .none
    }

    private func messages(_ method: String, _ arguments: ModuleArguments) throws(ModuleError) -> [MonitoringMessage] {
        let time = ISO8601.format(milliseconds: self.wallClock())
        switch method {
        case "create_job": return [try .creation(arguments, time: time)]
        case "record_event":
            let status = try MonitoringMessage.Status(arguments)
            let event = try MonitoringMessage.event(arguments, status, uuid: MonitoringMessage.newUUID(), time: time)
            return arguments["ends_job"]?.bool == true ? [event, try .end(arguments, status)] : [event]
        default: throw .unknownMethod("monitoring.\(method)")
        }
    }

    /// Sends a message once, for the outbox.
    private func attempt(_ message: MonitoringMessage) async -> Outbox.Attempt {
        let request = HTTPModuleRequest(message.method, self.endpoint, message.path, body: message.body.encoded)
        switch await self.http.attempt(request, deadline: .now + self.limit) {
        case .failure(let failure): return .again(failure.moduleError(request).message)
        case .success(let response):
            // It may have been sent before, by an earlier agent even.
            let verdict = MonitoringMessage.Verdict(response.status, isRepeated: true)
            if verdict == .delivered { return .delivered }
            let reason = response.moduleError(request).message
            return MonitoringMessage.isRefusedForGood(response.status) ? .refused(reason) : .again(reason)
        }
    }

    /// Sends a message until the backend has it. The backend may have taken it on although no answer came, so each is one that may arrive twice: its UUID
    /// says which it is.
    private func deliver(_ message: MonitoringMessage) async throws(ModuleError) {
        let request = HTTPModuleRequest(message.method, self.endpoint, message.path, body: message.body.encoded)
        let deadline = ContinuousClock.now + self.limit
        var backoff = RetryBackoff()
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
