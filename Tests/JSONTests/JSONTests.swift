import JSON
import NIOCore
import Testing

@Suite("JSON as Python has it")
struct JSONTests {
    @Test(
        "values are read and written as Python's json does",
        arguments: [
            "null", "true", "false", "0", "-1", "9223372036854775807", "1.5", "-2.5e-07", "1e+16", "\"\"",
            "[]", "[1, [2, []]]", "{}", "{\"a\": 1, \"b\": {\"c\": [null]}}", "NaN", "Infinity", "-Infinity",
            "123456789012345678901234567890", "-99999999999999999999",
            "\"\\u00e9\\n\\t\\\"\\\\\"", "\"\\ud83d\\ude00\"", "\"\\u007f\\u0001\"",
        ]
    )
    func roundTrip(text: String) throws {
        #expect(try JSON(parsing: text).description == text)
    }

    @Test("UTF-8 is read as it stands and white space is skipped")
    func unicodeAndWhiteSpace() throws {
        #expect(try JSON(parsing: " {\"é\" :\t\"日本\"\r\n} ") == ["é": "日本"])
    }

    @Test(
        "a lone surrogate becomes a replacement character, and what follows stays",
        arguments: ["\\ud800", "\\udc00"]
    )
    func loneSurrogate(escape: String) throws {
        #expect(try JSON(parsing: "\"a\(escape)b\"") == "a\u{FFFD}b")
        #expect(try JSON(parsing: "\"\(escape)\\u0041\"") == "\u{FFFD}A")
    }

    @Test("the last of duplicate members counts, at the first one's place")
    func duplicates() throws {
        #expect(try JSON(parsing: "{\"a\": 1, \"b\": 2, \"a\": 3}").description == "{\"a\": 3, \"b\": 2}")
    }

    @Test("large objects find their members after insertions and removals")
    func largeObject() {
        var object = JSONObject()
        for number in 0..<100 { object["k\(number)"] = .int(Int64(number)) }
        object["k3"] = nil
        object["k99"] = "last"
        #expect(object.count == 99)
        #expect(object["k3"] == nil)
        #expect(object["k4"] == 4)
        #expect(object["k99"] == "last")
    }

    @Test(
        "what is not JSON is refused with the place",
        arguments: [
            ("", 0), ("{", 1), ("[1,]", 3), ("[1 2]", 3), ("{\"a\" 1}", 5), ("{a: 1}", 1), ("\"abc", 0), ("\"\\x\"", 1),
            ("\"\\u12g4\"", 5), ("\"\\u12", 3), ("01", 0), ("1.", 2), ("-", 1), ("1e", 2), ("tru", 0), ("nul", 0),
            ("1 1", 2),
            ("\"a\nb\"", 2), ("'a'", 0),
        ]
    )
    func refusals(text: String, offset: Int) {
        #expect { try JSON(parsing: text) } throws: { ($0 as? JSONError)?.offset == offset }
    }

    @Test("bytes that are not UTF-8 are refused")
    func notUTF8() {
        #expect(throws: JSONError("bytes that are not UTF-8", at: 1)) {
            try JSON(parsing: ByteBuffer(bytes: [0x22, 0xFF, 0x22]))
        }
    }

    @Test("nesting is bounded")
    func depth() throws {
        let limit = JSON.maximumDepth
        func nested(_ count: Int) -> String {
            String(repeating: "[", count: count) + String(repeating: "]", count: count)
        }
        #expect(throws: Never.self) { try JSON(parsing: nested(limit)) }
        #expect(throws: JSONError.self) { try JSON(parsing: nested(100_000)) }
    }

    @Test("no bytes make the parser trap")
    func arbitraryBytes() {
        var generator = SystemRandomNumberGenerator()
        let alphabet = Array("{}[]\",:\\u0123eE+-.tfnNI \n\u{e9}".utf8)
        var accepted = 0
        for _ in 0..<20_000 {
            let count = Int.random(in: 0..<24, using: &generator)
            let bytes = (0..<count).compactMap { _ in alphabet.randomElement(using: &generator) }
            if let value = try? JSON(parsing: ByteBuffer(bytes: bytes)) {
                accepted += 1
                #expect((try? JSON(parsing: value.encoded).description) == value.description)
            }
        }
        #expect(accepted > 0)
    }
}
