public import JSON
import NIOCore

/// What the proxy provider has answered.
public struct ProxyOffer: Sendable, Equatable {
    /// `proxy_url`.
    public var upstream: UpstreamProxy
    /// `proxy_url` as it came: a secret.
    public var url: String
    /// `attempt`, as it came; null where there is none.
    public var attempt: JSON
    /// What else the answer held, as it came: the checks that were asked for.
    public var checks: JSONObject

    /// - Throws: `answer` where it can't be used; nothing of it is shown.
    init(parsing response: HTTPModuleResponse, to request: HTTPModuleRequest) throws(ModuleError) {
        func unusable(_ found: String) -> ModuleError {
            ModuleError(
                "answer",
                "\(request.description) was answered with \(found); an object with 'proxy_url' was expected"
            )
        }
        let json: JSON
        do throws(JSONError) {
            json = try JSON(parsing: response.body)
        } catch {
            throw unusable(response.body.readableBytes == 0 ? "an empty body" : "a body that is not JSON")
        }
        guard var checks = json.object else { throw unusable("\(json.kind)") }
        guard let url = checks["proxy_url"] else { throw unusable("an object that has none") }
        guard let url = url.string else { throw unusable("\(url.kind) as 'proxy_url'") }
        self.url = url
        do throws(ModuleError) {
            self.upstream = try UpstreamProxy(url)
        } catch {
            throw ModuleError(
                "answer",
                "\(request.description) was answered with a 'proxy_url' that can't be used: \(error.message)"
            )
        }
        self.attempt = checks["attempt"] ?? .null
        checks["proxy_url"] = nil
        checks["attempt"] = nil
        self.checks = checks
    }
}

// Printed or dumped, it shows no credentials.

extension ProxyOffer: CustomStringConvertible, CustomReflectable {
    public var description: String { "ProxyOffer(\(self.upstream))" }
    public var customMirror: Mirror { Mirror(self, children: ["upstream": self.upstream, "attempt": self.attempt]) }
}
