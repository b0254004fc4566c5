public import JSON
import NIOHTTP1

/// A client of the service that hands out proxies.
public struct ProxyProvider: Sendable {
    private let http: ModuleHTTPClient
    private let endpoint: HTTPEndpoint
    /// For one request with all its repetitions.
    private let limit: Duration

    /// - Parameter url: `PROXY_PROVIDER_URL`. May hold secrets.
    public init(http: ModuleHTTPClient, url: String) { self.init(http: http, url: url, limit: .seconds(10)) }

    init(http: ModuleHTTPClient, url: String, limit: Duration) {
        self.http = http
        self.endpoint = HTTPEndpoint(url)
        self.limit = limit
    }

    /// Asks for a proxy. A connection error, 502, 503 and 504 are tried again within the limit of 10 s.
    /// - Parameter fields: the configuration; what Python takes for true in it becomes the query.
    /// - Throws: `timeout`, `network`, `status` (details: `status`), `answer` where it can't be used; `argument` where the provider's URL is none of HTTP. What the
    ///   provider says is shown where it certainly holds no credentials.
    public func fetch(_ fields: JSONObject) async throws(ModuleError) -> ProxyOffer {
        guard self.endpoint.isHTTP else {
            throw .argument(
                "PROXY_PROVIDER_URL",
                found: "another scheme",
                expected: "the provider's http:// or https:// URL"
            )
        }
        let request = HTTPModuleRequest(.GET, self.endpoint, "/fetch_proxy", query: ProviderQuery.encode(fields))
        let deadline = ContinuousClock.now + self.limit
        var backoff = RetryBackoff()
        var problem: ModuleError?
        while true {
            switch await self.http.attempt(request, deadline: deadline) {
            case .success(let response) where response.isSuccess:
                return try ProxyOffer(parsing: response, to: request)
            case .success(let response):
                let refusal = Self.refusal(response, request)
                guard [502, 503, 504].contains(response.status.code) else { throw refusal }
                problem = refusal
            case .failure(let failure):
                // Why it was asked again says more than that there was no time left.
                guard case .network = failure else { throw problem ?? failure.moduleError(request) }
                problem = failure.moduleError(request)
            }
            let next = ContinuousClock.now + backoff.next()
            if let problem, next >= deadline { throw problem }
            do {
                try await Task.sleep(until: next)
            } catch {
                throw problem ?? HTTPFailure.cancelled.moduleError(request)
            }
        }
    }

    private static func refusal(_ response: HTTPModuleResponse, _ request: HTTPModuleRequest) -> ModuleError {
        let words = ProviderWords(response.body).text
        return ModuleError(
            "status",
            "\(request.description) was answered with HTTP \(response.status.code) \(response.status.reasonPhrase): \(words)",
            details: ["status": .int(Int64(response.status.code))]
        )
    }
}
