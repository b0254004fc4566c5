import AgentModules
import CeleryWorker
import JSON
import NIOCore
import NIOHTTP1

/// What the probes answer: paths as Kubernetes names its own components' (`/livez`, `/readyz`), and `/metrics` for Prometheus.
struct ProbeAnswer {
    var status: HTTPResponseStatus
    var contentType: String
    var body: ByteBuffer

    /// What the answers are made of, looked at only where it is needed.
    struct Source: Sendable {
        var health: @Sendable () -> WorkerHealth
        var metrics: @Sendable () -> WorkerMetrics
        /// `nil` where there is no outbox.
        var outbox: @Sendable () -> OutboxCounts? = { nil }
    }

    /// - Parameter target: the request's target, a path with or without a query.
    init(method: HTTPMethod, target: String, from source: Source) {
        guard method == .GET || method == .HEAD else {
            self = .problem(.methodNotAllowed, "\(method.rawValue), where GET was expected")
            return
        }
        switch target.prefix(while: { $0 != "?" }) {
        case "/livez":
            // That this is answered says it: the event loop that carries the jobs is the one that answers.
            self.init(.ok, Self.state(source.health(), reasons: []))
        case "/readyz":
            let health = source.health()
            self.init(health.isReady ? .ok : .serviceUnavailable, Self.state(health, reasons: health.obstacles))
        case "/startupz":
            let health = source.health()
            let reasons = health.hasStarted ? [] : health.obstacles
            self.init(health.hasStarted ? .ok : .serviceUnavailable, Self.state(health, reasons: reasons))
        case "/metrics":
            let text = MetricsText(source.metrics(), outbox: source.outbox(), .current)
            self.init(.ok, contentType: MetricsText.contentType, text.buffer)
        default:
            self = .problem(.notFound, "no such path; there are /livez, /readyz, /startupz and /metrics")
        }
    }

    private init(_ status: HTTPResponseStatus, _ json: JSON) {
        var body = json.encoded
        body.writeStaticString("\n")
        self.init(status, contentType: "application/json", body)
    }

    private init(_ status: HTTPResponseStatus, contentType: String, _ body: ByteBuffer) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    private static func problem(_ status: HTTPResponseStatus, _ reason: String) -> ProbeAnswer {
        ProbeAnswer(status, ["ok": false, "reasons": [.string(reason)]])
    }

    private static func state(_ health: WorkerHealth, reasons: [String]) -> JSON {
        [
            "ok": .bool(reasons.isEmpty),
            "reasons": .array(reasons.map(JSON.string)),
            "node": .string(health.nodeName),
            "phase": .string("\(health.phase)"),
            "connected": .bool(health.isConnected),
            "queues": .array(health.queues.map(JSON.string)),
        ]
    }
}
