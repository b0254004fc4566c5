import NIOCore
import Testing

@testable import AMQP

@Suite("Codec")
struct CodecTests {
    @Test("every method comes back as it was", arguments: MethodSamples.all)
    func methodRoundTrip(_ method: Method) throws {
        var payload = ByteBuffer()
        method.write(to: &payload)
        #expect(payload.getInteger(at: 0, as: UInt16.self) == method.id.classID)
        #expect(payload.getInteger(at: 2, as: UInt16.self) == method.id.methodID)
        #expect(try Self.decode(payload) == method)
    }

    @Test("the samples cover every method there is")
    func coverage() {
        // 14 of connection, 6 of channel, 8 of exchange, 10 of queue, 17 of basic (consume … nack, with get), 2 of confirm.
        #expect(Set(MethodSamples.all.map(\.id)).count == 57)
    }

    @Test("a method cut short at any byte, or with a byte too many, is refused", arguments: MethodSamples.all)
    func truncated(_ method: Method) throws {
        var payload = ByteBuffer()
        method.write(to: &payload)
        for length in 0..<payload.readableBytes {
            let cut = try #require(payload.getSlice(at: 0, length: length))
            #expect(throws: AMQPError.self, "\(length) bytes") { try Self.decode(cut) }
        }
        payload.writeInteger(UInt8(0))
        #expect(throws: AMQPError.self) { try Self.decode(payload) }
    }

    private static func decode(_ payload: ByteBuffer) throws -> Method {
        var names = RepeatedNames()
        return try Method(decoding: payload, names: &names)
    }

    @Test("names that repeat, change, are cut short or are not UTF-8 are read as any")
    func repeatedNames() throws {
        let long = String(repeating: "a", count: 20)
        let other = String(repeating: "b", count: 20)
        var name = RepeatedName()
        for text in [long, long, other, long, "", "short", long + "é", long] {
            var buffer = ByteBuffer()
            buffer.writeShortString(text)
            buffer.writeInteger(UInt8(7))
            #expect(try name.read(from: &buffer) == text)
            #expect(buffer.readableBytes == 1)
        }
        var cut = ByteBuffer(bytes: [20] + Array(long.utf8).dropLast())
        #expect(throws: AMQPError.self) { try name.read(from: &cut) }
        for _ in 0..<2 {
            var invalid = ByteBuffer(bytes: [20] + Array(repeating: 0xFF, count: 20))
            #expect(try name.read(from: &invalid) == String(repeating: "\u{FFFD}", count: 20))
        }
    }

    @Test("properties come back as they were", arguments: MethodSamples.properties)
    func propertiesRoundTrip(_ properties: BasicProperties) throws {
        var buffer = ByteBuffer()
        Frame.header(channel: 3, Frame.ContentHeader(bodySize: 1 << 40, properties: properties)).write(to: &buffer)
        var decoder = FrameDecoder()
        let frame = try decoder.next(&buffer)
        #expect(
            frame == .header(channel: 3, Frame.ContentHeader(bodySize: 1 << 40, properties: properties))
        )
        #expect(buffer.readableBytes == 0)
    }

    @Test("property flags that the basic class doesn't have are refused", arguments: [UInt16(1), 2, 0xFFFF])
    func badPropertyFlags(_ flags: UInt16) {
        var buffer = ByteBuffer(integer: flags)
        var names = RepeatedNames()
        #expect(throws: AMQPError.self) { try BasicProperties(reading: &buffer, names: &names) }
    }

    @Test("what a Celery client publishes is written byte for byte as the specification says")
    func goldenBytes() {
        var buffer = ByteBuffer()
        Frame.writeMessage(
            channel: 1,
            method: .basicPublish(exchange: "", routingKey: "q", isMandatory: false),
            properties: BasicProperties(contentType: "a/b", deliveryMode: 2),
            body: ByteBuffer(string: "hi"),
            frameMax: 4096,
            to: &buffer
        )
        let expected: [UInt8] =
            [1, 0, 1, 0, 0, 0, 10, 0, 60, 0, 40, 0, 0, 0, 1, 0x71, 0, 0xCE]
            + [2, 0, 1, 0, 0, 0, 19, 0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x90, 0, 3, 0x61, 0x2F, 0x62, 2, 0xCE]
            + [3, 0, 1, 0, 0, 0, 2, 0x68, 0x69, 0xCE]
        #expect(Array(buffer.readableBytesView) == expected)
    }

    @Test(
        "a body goes in pieces of frame_max - 8, an empty one in none",
        arguments: [(0, 0), (1, 1), (4087, 1), (4088, 1), (4089, 2), (8176, 2), (8177, 3), (100_000, 25)]
    )
    func bodyPieces(_ size: Int, _ pieces: Int) throws {
        var buffer = ByteBuffer()
        Frame.writeMessage(
            channel: 1,
            method: .basicPublish(exchange: "", routingKey: "q", isMandatory: false),
            properties: BasicProperties(),
            body: ByteBuffer(repeating: 7, count: size),
            frameMax: 4096,
            to: &buffer
        )
        var decoder = FrameDecoder()
        decoder.frameMax = 4096
        var lengths: [Int] = []
        while let frame = try decoder.next(&buffer) {
            if case .body(_, let piece) = frame { lengths.append(piece.readableBytes) }
        }
        #expect(lengths.count == pieces)
        #expect(lengths.reduce(0, +) == size)
        #expect(lengths.allSatisfy { $0 <= 4088 })
    }

    @Test("text beyond 255 bytes is cut at a character")
    func shortStringCut() throws {
        var buffer = ByteBuffer()
        buffer.writeShortString(String(repeating: "a", count: 254) + "é")
        #expect(buffer.readableBytes == 255)
        #expect(try buffer.readShortString() == String(repeating: "a", count: 254))
    }
}
