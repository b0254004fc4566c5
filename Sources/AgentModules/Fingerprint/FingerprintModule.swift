import JSON
import Marshal
import NIOCore
import NIOHTTP1

/// `fingerprint.get`: a plain client of the fingerprint provider, which knows nothing of what it carries.
public struct FingerprintModule: AgentModule {
    public let name = "fingerprint"
    private let http: ModuleHTTPClient
    private let endpoint: HTTPEndpoint

    /// - Parameter url: `FINGERPRINT_PROVIDER_URL`.
    public init(url: String, http: ModuleHTTPClient) {
        self.endpoint = HTTPEndpoint(url)
        self.http = http
    }

    public func run() async { await self.http.run() }

    /// `get(body)`, the request's body as JSON text: a dictionary with the answer's `body` (bytes) and its `content_type`.
    ///
    /// Errors: `timeout`, `network`, `status` (details: `status`, `body`), `answer` for one that is empty or too large.
    public func call(_ method: String, _ arguments: ModuleArguments, reply: ModuleReply) async throws(ModuleError)
        -> PythonValue
    {
        guard method == "get" else { throw .unknownMethod("fingerprint.\(method)") }
        let body = ByteBuffer(string: try arguments.string("body"))
        let request = HTTPModuleRequest(.GET, self.endpoint, "/get-fingerprint", body: body)
        let response: HTTPModuleResponse
        do throws(HTTPFailure) {
            response = try await self.http.send(request)
        } catch {
            throw error.moduleError(request)
        }
        guard response.isSuccess else { throw response.moduleError(request) }
        guard response.body.readableBytes > 0 else {
            throw ModuleError(
                "answer",
                "\(request.description) was answered with HTTP \(response.status.code) and an empty body; a fingerprint was expected"
            )
        }
        return PythonValue { writer in
            writer.openDictionary()
            writer.string("body")
            writer.bytes(response.body)
            writer.string("content_type")
            if let contentType = response.contentType { writer.string(contentType) } else { writer.none() }
            writer.closeDictionary()
        }
    }
}
