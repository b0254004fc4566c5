import JSON
import Marshal
import NIOCore
import Testing

@Suite("Python's marshal format")
struct MarshalWriterTests {
    private func bytes(_ write: (inout MarshalWriter) -> Void) -> [UInt8] {
        var writer = MarshalWriter()
        write(&writer)
        return Array(writer.buffer.readableBytesView)
    }

    /// The expected bytes are those that `marshal.dumps(value, 4)` gives, without the flag for references.
    @Test("scalars")
    func scalars() {
        #expect(self.bytes { $0.none() } == Array("N".utf8))
        #expect(self.bytes { $0.bool(true) } == Array("T".utf8))
        #expect(self.bytes { $0.int(-2) } == [0x69, 0xFE, 0xFF, 0xFF, 0xFF])
        #expect(self.bytes { $0.int(1 << 31) } == [0x6C, 3, 0, 0, 0, 0, 0, 0, 0, 2, 0])
        #expect(self.bytes { $0.int(-(1 << 31) - 1) } == [0x6C, 0xFD, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 2, 0])
        #expect(self.bytes { $0.double(1.5) } == [0x67, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F])
        #expect(self.bytes { $0.string("ab" as String) } == [0x7A, 2, 0x61, 0x62])
        #expect(self.bytes { $0.string("é" as String) } == [0x75, 2, 0, 0, 0, 0xC3, 0xA9])
        #expect(self.bytes { $0.bytes(ByteBuffer(bytes: [0xFF])) } == [0x73, 1, 0, 0, 0, 0xFF])
    }

    @Test("long ASCII text has a long length; bytes that are not UTF-8 stay bytes")
    func text() {
        #expect(self.bytes { $0.string(String(repeating: "x", count: 256)) }.prefix(6) == [0x61, 0, 1, 0, 0, 0x78])
        #expect(self.bytes { $0.text(ByteBuffer(bytes: [0xC3, 0x28])) } == [0x73, 2, 0, 0, 0, 0xC3, 0x28])
    }

    @Test("a list whose length is known at its end")
    func list() {
        let written = self.bytes { writer in
            let list = writer.openList()
            writer.none()
            writer.bool(true)
            writer.closeList(list, count: 2)
        }
        #expect(written == [0x5B, 2, 0, 0, 0, 0x4E, 0x54])
    }

    @Test("JSON is written as Python's json.loads would give it")
    func json() throws {
        let value = try JSON(parsing: #"{"a": [null, 1.5], "b": 2}"#)
        let expected = self.bytes { writer in
            writer.openDictionary()
            writer.string("a" as String)
            writer.openList(count: 2)
            writer.none()
            writer.double(1.5)
            writer.string("b" as String)
            writer.int(2)
            writer.closeDictionary()
        }
        #expect(self.bytes { $0.json(value) } == expected)
    }

    @Test("the extreme integer has five digits")
    func extremeInteger() {
        let written = self.bytes { $0.int(.min) }
        #expect(written == [0x6C, 0xFB, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0])
    }
}
