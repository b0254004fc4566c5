import Testing

@testable import AgentModules

@Suite("An upstream proxy's URL")
struct UpstreamProxyTests {
    @Test(
        "scheme, host, port and credentials",
        arguments: [
            ("http://host:8080", "http", "host", 8080, nil, nil),
            ("host:8080", "http", "host", 8080, nil, nil),
            ("host", "http", "host", 80, nil, nil),
            ("HTTPS://host/", "https", "host", 443, nil, nil),
            ("socks5://10.0.0.1", "socks5", "10.0.0.1", 1080, nil, nil),
            ("socks5h://u:p@host", "socks5h", "host", 1080, "u", "p"),
            ("user:pass@host:1", "http", "host", 1, "user", "pass"),
            (" http://user@host \n", "http", "host", 80, "user", ""),
            ("http://:pass@host", "http", "host", 80, "", "pass"),
            ("http://@host:65535", "http", "host", 65535, nil, nil),
            ("http://us%2Fer:p%40%3a%25%zz@host", "http", "host", 80, "us/er", "p@:%%zz"),
            ("http://u:p:q@r@host", "http", "host", 80, "u", "p:q@r"),
            ("https://u:p@[2001:db8::1]:3128", "https", "2001:db8::1", 3128, "u", "p"),
            ("http://[::1]", "http", "::1", 80, nil, nil),
            ("http://a-b_c.example:1", "http", "a-b_c.example", 1, nil, nil),
            ("http://\u{FC}ser:p%C3%A4ss@host", "http", "host", 80, "\u{FC}ser", "p\u{E4}ss"),
        ] as [(String, String, String, Int, String?, String?)]
    )
    func parsed(url: String, scheme: String, host: String, port: Int, user: String?, password: String?) throws {
        let proxy = try UpstreamProxy(url)
        #expect(proxy.scheme.rawValue == scheme)
        #expect(proxy.address == HostPort(host: host, port: port))
        #expect(proxy.credentials?.user == user)
        #expect(proxy.credentials?.password == password)
    }

    @Test(
        "what is none says what was found, and shows nothing that may be a secret",
        arguments: [
            ("", "no host name"), ("http://", "no host name"), ("http://u:hush@", "no host name"),
            ("http://hush:hush", "no host name"), ("http://u:hush@host:0", "no host name"),
            ("http://u:hush@host:65536", "no host name"), ("http://u:hush@::1", "no host name"),
            ("http://u:hush@[::1", "no host name"), ("http://u:hush@[host]", "no host name"),
            ("http://u:hush@ho%20st", "no host name"), ("http://u:hush@h\u{F6}st", "no host name"),
            ("ftp://u:hush@host", "the scheme 'ftp'"), ("u:hush@x://host", "an unknown scheme"),
            ("http://u:hu/sh@host", "'/', '?' or '#' in the credentials"),
            ("http://host/hush", "something behind the port"),
            ("http://u:hu sh@host", "white space"), ("http://u:%ff@host", "credentials that are not UTF-8"),
            ("http://a%3Ahush:b@host", "a user with a ':'"),
            ("socks5://:hush@host", "a user or a password that SOCKS has no room for"),
            (
                "socks5://u:\(String(repeating: "x", count: 256))@host",
                "a user or a password that SOCKS has no room for"
            ),
        ]
    )
    func refused(url: String, found: String) {
        let error = #expect(throws: ModuleError.self) { try UpstreamProxy(url) }
        #expect(error?.kind == "upstream")
        #expect(error?.message.contains("found \(found)") == true)
        #expect(error?.message.contains("expected http://user:password@host:port") == true)
        for secret in ["hush", "hu/sh", "hu sh", "xxx"] { #expect(error?.message.contains(secret) == false) }
    }

    @Test("printed or dumped, it shows no credentials")
    func redacted() throws {
        let proxy = try UpstreamProxy("https://bob:s3cret@[::1]:1")
        #expect("\(proxy)" == "https://***@[::1]:1")
        var dumped = ""
        dump(UpstreamRoute.proxy(proxy), to: &dumped)
        dump(proxy.credentials, to: &dumped)
        dumped += "\(UpstreamRoute.proxy(proxy)) \(String(reflecting: proxy)) \(String(describing: proxy.credentials))"
        #expect(!dumped.contains("s3cret") && !dumped.contains("bob"))
        #expect(try UpstreamProxy("host").description == "http://host:80")
    }

    @Test("HTTP's credentials (RFC 7617), and a proxy that repeats them")
    func basic() throws {
        #expect(
            try UpstreamProxy("http://Aladdin:open%20sesame@h").authorization == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        )
        #expect(try UpstreamProxy("http://test:123%C2%A3@h").authorization == "Basic dGVzdDoxMjPCow==")
        #expect(try UpstreamProxy("http://h").authorization == nil)
        let proxy = try UpstreamProxy("http://alice:open%20sesame@h")
        #expect(
            proxy.redacted("alice, open sesame, open%20sesame, YWxpY2U6b3BlbiBzZXNhbWU=, no")
                == "***, ***, ***, ***, no"
        )
        #expect(try UpstreamProxy("http://a:b@h").redacted("a bad thing") == "(not shown)")
        #expect(try UpstreamProxy("http://a:b@h").redacted("a thing, YTpi") == "a thing, ***")
        #expect(try UpstreamProxy("http://h").redacted("a thing") == "a thing")
    }

    @Test(
        "base64 (RFC 4648, section 10)",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ]
    )
    func base64(text: String, encoded: String) { #expect(Base64.encoded(text.utf8) == encoded) }
}
