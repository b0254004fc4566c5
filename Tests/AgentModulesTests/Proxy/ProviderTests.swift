import JSON
import NIOCore
import NIOPosix
import Testing

@testable import AgentModules

@Suite("The proxy provider", .timeLimit(.minutes(1)))
struct ProviderTests {
    @Test("the query has every truthy field, as Python's requests would write it")
    func query() throws {
        let fields = try JSON(
            parsing: """
                {"upstream_proxy_enabled": 1, "zero": 0, "none": null, "no": false, "yes": true, "empty": "", "list": [],
                 "object": {}, "float": 0.0, "negative": -0.0, "proxy_location": "S\u{E3}o Paulo & co/~_.-", "ratio": 0.5,
                 "whole": 1.0, "large": 1e16, "big": 123456789012345678901234567890, "nan": NaN, "inf": -Infinity,
                 "many": ["a b", 1, null, true, {"x": [1]}], "nested": {"k": "v"}, "a key": "0"}
                """
        )
        #expect(
            ProviderQuery.encode(try #require(fields.object)).split(separator: "&") == [
                "upstream_proxy_enabled=1", "yes=True", "proxy_location=S%C3%A3o+Paulo+%26+co%2F~_.-", "ratio=0.5",
                "whole=1.0", "large=1e%2B16", "big=123456789012345678901234567890", "nan=nan", "inf=-inf", "many=a+b",
                "many=1", "many=True", "many=%7B%22x%22%3A+%5B1%5D%7D", "nested=%7B%22k%22%3A+%22v%22%7D", "a+key=0",
            ]
        )
        #expect(ProviderQuery.encode([:]) == "")
    }

    /// Asks a provider that gives these answers, one a connection, and says nothing when there are no more.
    static func fetch(
        _ answers: [String],
        fields: JSONObject = [:],
        limits: ModuleHTTPClient.Limits = .init(),
        url: String = "http://me:hush@127.0.0.1"
    ) async throws -> (offer: Result<ProxyOffer, ModuleError>, requests: [String]) {
        let requests = Collected<String>()
        return try await TestStream.serve { provider in
            requests.add(try await provider.readHead())
            let number = requests.values.count - 1
            if number < answers.count {
                try await provider.write(answers[number])
            } else {
                _ = try await provider.readToEnd()
            }
        } _: { port in
            let http = ModuleHTTPClient(eventLoop: MultiThreadedEventLoopGroup.singleton.next(), limits: limits)
            return await withTaskGroup(of: Void.self) { group in
                group.addTask { await http.run() }
                defer { group.cancelAll() }
                let provider = ProxyProvider(http: http, url: "\(url):\(port)/base/")
                do throws(ModuleError) {
                    return (.success(try await provider.fetch(fields)), requests.values)
                } catch {
                    return (.failure(error), requests.values)
                }
            }
        }
    }

    static func answer(_ body: String, _ status: String = "200 OK") -> String {
        "HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\nConnection: close\r\n\r\n\(body)"
    }

    @Test("the request, and what the answer held: the upstream, the attempt, the checks as they came")
    func offer() async throws {
        let body =
            #"{"proxy_url": "http://u:p@host:8080", "attempt": 3, "verify_ip": {"ip": "1.2.3.4"}, "verify_quality": null}"#
        let (result, requests) = try await Self.fetch(
            [Self.answer(body)],
            fields: ["proxy_provider_name": "acme", "verify_ip": true, "max_queries_number": 0]
        )
        let offer = try result.get()
        #expect(offer.url == "http://u:p@host:8080")
        #expect(offer.upstream == (try UpstreamProxy("http://u:p@host:8080")))
        #expect(offer.attempt == 3)
        #expect(offer.checks == ["verify_ip": ["ip": "1.2.3.4"], "verify_quality": nil])
        let head = try #require(requests.first)
        #expect(head.hasPrefix("GET /base/fetch_proxy?proxy_provider_name=acme&verify_ip=True HTTP/1.1\r\n"))
        #expect(head.lowercased().contains("authorization: basic bwu6ahvzaa=="))
        #expect(!head.lowercased().contains("content-"))
        let bare = try await Self.fetch([Self.answer(#"{"proxy_url": "host"}"#)])
        #expect(bare.requests.first?.hasPrefix("GET /base/fetch_proxy HTTP/1.1\r\n") == true)
        #expect(try bare.offer.get().attempt == .null)
        #expect(try bare.offer.get().checks.isEmpty)
    }

    @Test(
        "an answer that can't be used says why, and shows no credentials",
        arguments: [
            ("", "200 OK", "answer", "was answered with an empty body; an object with 'proxy_url' was expected"),
            ("<p>hush", "200 OK", "answer", "was answered with a body that is not JSON"),
            (#"["http://u:hush@h"]"#, "200 OK", "answer", "was answered with an array"),
            (#"{"proxy": "http://u:hush@h"}"#, "200 OK", "answer", "was answered with an object that has none"),
            (#"{"proxy_url": null}"#, "200 OK", "answer", "was answered with null as 'proxy_url'"),
            (
                #"{"proxy_url": "ftp://u:hush@h"}"#, "200 OK", "answer",
                "'proxy_url' that can't be used: the upstream proxy's URL: found the scheme 'ftp'"
            ),
            (
                #"{"error": "no proxy in\n Paris", "proxy": "u:hush"}"#, "404 Not Found", "status",
                "was answered with HTTP 404 Not Found: no proxy in Paris"
            ),
            (
                #"{"detail": "http://u:hush@h is down", "message": "try later"}"#, "500 Internal Server Error",
                "status",
                "HTTP 500 Internal Server Error: try later"
            ),
            (
                "u:hush@h is down", "500 Internal Server Error", "status",
                "HTTP 500 Internal Server Error: (16 bytes that are not shown, since they may hold credentials)"
            ),
            ("nothing\r\n left", "410 Gone", "status", "HTTP 410 Gone: nothing left"),
            ("", "400 Bad Request", "status", "HTTP 400 Bad Request: (an empty body)"),
            (#""sold out""#, "400 Bad Request", "status", "HTTP 400 Bad Request: sold out"),
            (#"{"user": "hush"}"#, "400 Bad Request", "status", "(16 bytes that are not shown"),
        ]
    )
    func unusable(body: String, status: String, kind: String, text: String) async throws {
        let (result, requests) = try await Self.fetch([Self.answer(body, status)], fields: ["key": "hush"])
        guard case .failure(let error) = result else { throw ModuleError("test", "an offer was made of \(body)") }
        #expect(error.kind == kind)
        #expect(error.message.contains(text), "\(error.message)")
        #expect(error.message.contains("GET http://127.0.0.1:"))
        #expect(!"\(error) \(error.details)".contains("hush"))
        #expect(requests.count == 1)
        if kind == "status" { #expect(error.details["status"]?.int == Int(status.prefix(3))) }
    }

    @Test("a server that is busy, or breaks off, is asked again; no answer is a time-out")
    func again() async throws {
        let (result, requests) = try await Self.fetch(
            [Self.answer("", "503 Busy"), "", Self.answer("", "502 Bad"), Self.answer(#"{"proxy_url": "h"}"#)]
        )
        #expect(try result.get().upstream == UpstreamProxy("h"))
        #expect(requests.count == 4)
        let silent = try await Self.fetch([], limits: .init(connect: .milliseconds(100), total: .milliseconds(100)))
        guard case .failure(let error) = silent.offer else { throw ModuleError("test", "an offer") }
        #expect(error.kind == "timeout")
        #expect(error.message.hasSuffix("/base/fetch_proxy within 100 ms"))
    }

    @Test("a provider that is not there, or no HTTP server")
    func unreachable() async throws {
        let http = ModuleHTTPClient(eventLoop: MultiThreadedEventLoopGroup.singleton.next())
        let reserved = try ReservedPort()
        defer { withExtendedLifetime(reserved) {} }
        let closed = ProxyProvider(
            http: http,
            url: "http://me:hush@127.0.0.1:\(reserved.port)",
            limit: .seconds(5)
        )
        let socks = ProxyProvider(http: http, url: "socks5://me:hush@h")
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await http.run() }
            let refused = await #expect(throws: ModuleError.self) { try await closed.fetch([:]) }
            #expect(refused?.kind == "network")
            #expect(refused?.message.contains("hush") == false)
            let wrong = await #expect(throws: ModuleError.self) { try await socks.fetch([:]) }
            #expect(
                wrong
                    == .argument(
                        "PROXY_PROVIDER_URL",
                        found: "another scheme",
                        expected: "the provider's http:// or https:// URL"
                    )
            )
            group.cancelAll()
        }
    }
}
