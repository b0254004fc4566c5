import Logging
import Testing

@testable import Agent

@Suite("Requirements")
struct RequirementsTests {
    @Test(
        "base64",
        arguments: [
            ("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"),
            ("Zm9v\nYmFy\r\n", "foobar"), ("c2l4Cg==", "six\n"),
        ]
    )
    func base64(text: String, expected: String) throws {
        #expect(try Base64.decode(text) == Array(expected.utf8))
    }

    @Test("all bytes through base64")
    func allBytes() async throws {
        let bytes = (0...255).map { UInt8($0) }
        let text = try await runTool(
            "python3",
            ["-c", "import base64; print(base64.b64encode(bytes(range(256))).decode())"]
        )
        #expect(try Base64.decode(text.joined()) == bytes)
    }

    @Test(
        "what is not base64",
        arguments: [
            ("Zg", "cut off"), ("Zg=", "cut off"), ("Z", "cut off"), ("Zg===", "cut off"), ("=", "cut off"),
            ("Zh==", "last digit"),
            ("Zm9=", "last digit"), ("Zg==Zg==", "more follows"), ("Zm9v YmFy", "byte 32 at position 5"),
            ("requests==2", "more follows"),
            ("six>1", "'>' at position 4"), ("Zm-_", "'-' at position 3"), ("Zé==", "byte 195 at position 2"),
        ]
    )
    func notBase64(text: String, part: String) {
        let error = #expect(throws: RequirementsError.self) { try Requirements(base64: text) }
        #expect(error?.exitStatus == .configuration)
        #expect(error?.message.hasPrefix("REQUIREMENTS_TXT: found ") == true)
        #expect(error?.message.contains(part) == true)
    }

    @Test("bytes that are no text", arguments: ["/w==", "AA=="])
    func noText(base64: String) {
        #expect(throws: RequirementsError.self) { try Requirements(base64: base64) }
    }

    @Test(
        "SHA-256 as FIPS 180-4's examples have it",
        arguments: [
            ("", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
            ),
            ("a", 100_000, "6d1cf22d7cc09b085dfc25ee1a1f3ae0265804c607bc2074ad253bcc82fd81ee"),
        ]
    )
    func sha256(text: String, times: Int, expected: String) {
        #expect(SHA256.hex(Array(String(repeating: text, count: times).utf8)) == expected)
    }

    @Test("SHA-256 of every length around a block's end, beside Python's")
    func sha256Lengths() async throws {
        let script = "import hashlib\nfor n in range(130): print(hashlib.sha256(b'x' * n).hexdigest())"
        let expected = try await runTool("python3", ["-c", script])
        #expect((0..<130).map { SHA256.hex([UInt8](repeating: UInt8(ascii: "x"), count: $0)) } == expected)
    }

    private static func requirements(_ text: String) async throws -> Requirements {
        let script = "import base64, sys; print(base64.b64encode(sys.argv[1].encode()).decode())"
        return try Requirements(base64: try await runTool("python3", ["-c", script, text]).joined())
    }

    @Test(
        "what requirements ask for",
        arguments: [
            ("\n  # nothing\n", true, false), ("six", false, false), ("-r other.txt", false, true),
            ("six\n./local", false, true),
            ("a @ file:///x", false, true), ("-c limits.txt\nsix", false, true), ("# -r x\nsix", false, false),
            ("--find-links /wheels\nsix", false, false), ("-e .", false, true), ("a @ https://h/a.whl", false, false),
        ]
    )
    func contents(text: String, isEmpty: Bool, isLocal: Bool) async throws {
        let requirements = try await Self.requirements(text)
        #expect(requirements.isEmpty == isEmpty)
        #expect(requirements.dependsOnLocalFiles == isLocal)
    }

    @Test("secrets of requirements, and those that the environment brings in")
    func secrets() async throws {
        let requirements = try await Self.requirements("-i https://u:${TOKEN}@h/\nhttps://u:written@h/a.whl")
        let secrets = requirements.secrets(environment: [
            "TOKEN": "from-env", "OTHER": "no", "PIP_INDEX_URL": "https://a:index@h/", "UV_PUBLISH_PASSWORD": "word",
        ])
        #expect(Set(secrets) == ["${TOKEN}", "written", "from-env", "index", "word"])
    }

    @Test("how much an installer's lines matter")
    func levels() {
        #expect(RequirementsInstaller.level(of: "ERROR: No matching distribution") == .error)
        #expect(RequirementsInstaller.level(of: "error: No virtual environment found") == .error)
        #expect(RequirementsInstaller.level(of: "WARNING: Retrying") == .warning)
        #expect(RequirementsInstaller.level(of: "Requirement already satisfied: six") == .debug)
        #expect(RequirementsInstaller.level(of: " + six==1.16.0") == .info)
    }
}
