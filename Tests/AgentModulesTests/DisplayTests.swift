import JSON
import NIOCore
import Testing

@testable import AgentModules

@Suite("The display")
struct DisplayTests {
    private static let length = "expected a number of pixels from 1 to 32767"
    private static let depth = "expected 8, 15, 16, 24 or 30 bits; leave it out for 24"
    private static let size = #"expected "1920x1080" or [1920, 1080], each from 1 to 32767"#

    private static func screen(_ text: String) throws -> ScreenConfiguration {
        try ScreenConfiguration(try #require(try JSON(parsing: ByteBuffer(string: text)).object))
    }

    @Test("what is not said is 1920 × 1080 × 24, and what is not known is ignored")
    func defaults() throws {
        for text in ["{}", #"{"width": null, "screen_visible": null, "locale": {"width": 1}}"#] {
            let screen = try Self.screen(text)
            #expect((screen.width, screen.height, screen.depth, screen.isVisible) == (1920, 1080, 24, false))
        }
    }

    @Test(
        "each name that a length, a depth or a size may have",
        arguments: [
            (#"{"screen_width": 1, "screen_height": 2, "screen_depth": 8}"#, 1, 2, 8),
            (#"{"width": 32767, "height": 2, "depth": 30}"#, 32767, 2, 30),
            (#"{"screen_width": 1, "width": 3, "screen_depth": 16, "depth": 24}"#, 1, 1080, 16),
            (#"{"screen_size": "800x600"}"#, 800, 600, 24),
            (#"{"size": [800, 600]}"#, 800, 600, 24),
            (#"{"size": [800, 600], "height": 700}"#, 800, 700, 24),
        ]
    )
    func names(_ text: String, _ width: Int, _ height: Int, _ depth: Int) throws {
        let screen = try Self.screen(text)
        #expect((screen.width, screen.height, screen.depth) == (width, height, depth))
    }

    @Test(
        "whether it is the one that is there",
        arguments: [("true", true), ("false", false), ("1", true), ("0", false)]
    )
    func visible(_ text: String, _ isVisible: Bool) throws {
        #expect(try Self.screen("{\"screen_visible\": \(text)}").isVisible == isVisible)
    }

    @Test(
        "what is wrong is told by its name, with what was found and what is expected",
        arguments: [
            (#"{"width": "1920"}"#, #"width: found "1920", "# + length),
            (#"{"screen_height": 0}"#, "screen_height: found 0, " + length),
            (#"{"height": 32768}"#, "height: found 32768, " + length),
            (#"{"width": -1}"#, "width: found -1, " + length),
            (#"{"width": 1.5}"#, "width: found 1.5, " + length),
            (#"{"width": 100000000000000000000}"#, "width: found 100000000000000000000, " + length),
            (#"{"depth": 32}"#, "depth: found 32, " + depth),
            (#"{"screen_depth": []}"#, "screen_depth: found an array, " + depth),
            (#"{"screen_visible": "yes"}"#, #"screen_visible: found "yes", expected true or false"#),
            (#"{"screen_visible": 2}"#, "screen_visible: found 2, expected true or false"),
            (#"{"size": "800"}"#, #"size: found "800", "# + size),
            (#"{"size": "800xx600"}"#, #"size: found "800xx600", "# + size),
            (#"{"size": "0x600"}"#, #"size: found "0x600", "# + size),
            (#"{"screen_size": [800, 600, 24]}"#, "screen_size: found an array, " + size),
            (#"{"size": 800}"#, "size: found 800, " + size),
        ]
    )
    func wrong(_ text: String, _ message: String) throws {
        #expect(throws: ModuleError("argument", "config_screen: \(message)")) { try Self.screen(text) }
    }

    @Test("the secret's entry is as libXau reads it")
    func entry() {
        let secret = Array(UInt8(1)...16)
        let name = Array("MIT-MAGIC-COOKIE-1".utf8)
        #expect(DisplayAuthority.entry(secret: secret) == [0xFF, 0xFF, 0, 0, 0, 0, 0, 18] + name + [0, 16] + secret)
    }
}
