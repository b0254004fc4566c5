import AsyncHTTPClient
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOSSL

/// The modules' HTTP client: one pool of connections that are kept alive, for all Python processes, on the agent's event loop.
///
/// It is made at the first request, so that a project which needs none pays nothing. Proxies that the environment names are not used.
public final class ModuleHTTPClient: Sendable {
    private enum State {
        case unused
        case open(HTTPClient)
        case closed
    }

    private let eventLoop: any EventLoop
    private let limits: Limits
    private let state = NIOLockedValueBox(State.unused)

    struct Limits: Sendable {
        /// For a connection, its TLS handshake included.
        var connect = Duration.seconds(10)
        /// For a request with its answer, connecting and redirects included.
        var total = Duration.seconds(10)
        /// Bytes of an answer's body; none that is compressed is asked for.
        var body = 32 << 20
        var redirects = 30
    }

    public convenience init(eventLoop: any EventLoop) { self.init(eventLoop: eventLoop, limits: Limits()) }

    init(eventLoop: any EventLoop, limits: Limits) {
        self.eventLoop = eventLoop
        self.limits = limits
    }

    /// Keeps the client until it is cancelled, then closes its connections. Each module that uses the client runs it.
    func run() async {
        try? await Task.sleep(for: .seconds(Int64.max >> 32))
        let client = self.state.withLockedValue { state in
            defer { state = .closed }
            return if case .open(let client) = state { client } else { HTTPClient?.none }
        }
        // In a task of its own: this one is cancelled, and what is open must be closed all the same.
        await Task { try? await client?.shutdown() }.value
    }

    /// Sends a request, and returns its answer, whatever the status.
    /// - Parameter deadline: earlier than the total limit, where it is given.
    func send(_ request: HTTPModuleRequest, deadline: ContinuousClock.Instant? = nil) async throws(HTTPFailure)
        -> HTTPModuleResponse
    {
        guard let client = self.client() else { throw .cancelled }
        let limit = min(ContinuousClock.now + self.limits.total, deadline ?? .now + self.limits.total)
        do {
            return try await withThrowingTaskGroup(of: HTTPModuleResponse.self) { group in
                group.addTask { try await self.answer(to: request, of: client, by: limit) }
                group.addTask {
                    try await Task.sleep(until: limit)
                    throw HTTPFailure.timeout(self.limits.total)
                }
                defer { group.cancelAll() }
                guard let first = try await group.next() else { throw CancellationError() }
                return first
            }
        } catch {
            if Task.isCancelled { throw .cancelled }
            throw HTTPFailure(error, limits: self.limits)
        }
    }

    /// As ``send(_:deadline:)``.
    func attempt(
        _ request: HTTPModuleRequest,
        deadline: ContinuousClock.Instant
    ) async -> Result<HTTPModuleResponse, HTTPFailure> {
        do throws(HTTPFailure) {
            return .success(try await self.send(request, deadline: deadline))
        } catch {
            return .failure(error)
        }
    }

    private func answer(
        to request: HTTPModuleRequest,
        of client: HTTPClient,
        by limit: ContinuousClock.Instant
    ) async throws -> HTTPModuleResponse {
        let left = NIODeadline.now() + TimeAmount(limit - .now)
        let response = try await client.execute(request.request, deadline: left)
        let body = try await response.body.collect(upTo: self.limits.body)
        return HTTPModuleResponse(
            status: response.status,
            contentType: response.headers.first(name: "content-type"),
            body: body
        )
    }

    private func client() -> HTTPClient? {
        self.state.withLockedValue { state in
            switch state {
            case .open(let client): return client
            case .closed: return nil
            case .unused:
                let client = HTTPClient(eventLoopGroup: self.eventLoop, configuration: self.configuration)
                state = .open(client)
                return client
            }
        }
    }

    private var configuration: HTTPClient.Configuration {
        var configuration = HTTPClient.Configuration(
            // A redirected event that arrived as a GET would be lost, so method and body are kept (but for 303).
            redirectConfiguration: .follow(
                configuration: .init(
                    max: self.limits.redirects,
                    allowCycles: true,
                    retainHTTPMethodAndBodyOn301: true,
                    retainHTTPMethodAndBodyOn302: true
                )
            ),
            timeout: .init(connect: TimeAmount(self.limits.connect))
        )
        // Whether a request is tried again is the module's choice.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.httpVersion = .http1Only
        return configuration
    }
}

/// A request, with a JSON body or with none.
struct HTTPModuleRequest: Sendable {
    fileprivate var request: HTTPClientRequest
    /// For messages, without the query: `POST http://backend/api/jobs/`.
    let description: String

    /// - Parameters:
    ///   - path: begins with a slash.
    ///   - query: encoded, without its question mark.
    ///   - body: JSON text.
    init(
        _ method: HTTPMethod,
        _ endpoint: HTTPEndpoint,
        _ path: String,
        query: String = "",
        body: ByteBuffer? = nil
    ) {
        self.description = "\(method) \(endpoint.base)\(path)"
        self.request = HTTPClientRequest(url: endpoint.base + path + (query.isEmpty ? "" : "?\(query)"))
        self.request.method = method
        self.request.headers.add(name: "Accept", value: "*/*")
        self.request.headers.add(name: "User-Agent", value: "armada-agent")
        if let credentials = endpoint.credentials {
            self.request.setBasicAuth(username: credentials.user, password: credentials.password)
        }
        if let body {
            self.request.headers.add(name: "Content-Type", value: "application/json")
            self.request.body = .bytes(body)
        }
    }
}

struct HTTPModuleResponse: Sendable {
    var status: HTTPResponseStatus
    var contentType: String?
    var body: ByteBuffer

    var isSuccess: Bool { (200..<300).contains(self.status.code) }

    /// For messages: the status, and the body as far as it helps.
    var description: String {
        let text = String(decoding: self.body.readableBytesView.prefix(2000), as: UTF8.self)
        let rest = self.body.readableBytes > 2000 ? "… (\(self.body.readableBytes) bytes)" : ""
        return "HTTP \(self.status.code) \(self.status.reasonPhrase): \(text.isEmpty ? "(an empty body)" : text)\(rest)"
    }
}
