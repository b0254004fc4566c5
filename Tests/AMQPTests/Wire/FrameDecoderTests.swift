import NIOCore
import Testing

@testable import AMQP

@Suite("Frame decoder")
struct FrameDecoderTests {
    @Test("frames come out whole wherever the stream is cut")
    func splitAtEveryByte() throws {
        let stream = Self.stream
        let whole = try Self.frames(in: [stream])
        #expect(whole.count == Self.frames.count)
        #expect(whole == Self.frames)
        for cut in 0...stream.readableBytes {
            let head = try #require(stream.getSlice(at: 0, length: cut))
            let tail = try #require(stream.getSlice(at: cut, length: stream.readableBytes - cut))
            #expect(try Self.frames(in: [head, tail]) == whole, "cut at \(cut)")
        }
        let bytes = stream.readableBytesView.map { ByteBuffer(bytes: [$0]) }
        #expect(try Self.frames(in: bytes) == whole, "byte by byte")
    }

    @Test("a frame of frame_max is taken, one of a byte more is refused from its first seven bytes on")
    func frameMax() throws {
        var decoder = FrameDecoder()
        decoder.frameMax = 4096
        var buffer = Self.body(4088)
        #expect(try decoder.next(&buffer) == .body(channel: 1, ByteBuffer(repeating: 7, count: 4088)))
        var head = try #require(Self.body(4089).getSlice(at: 0, length: 7))
        #expect(throws: AMQPError.self) { try decoder.next(&head) }
        decoder.frameMax = 0
        var unlimited = Self.body(200_000)
        #expect(try decoder.next(&unlimited) != nil)
        var giant = ByteBuffer(bytes: [3, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF])
        #expect(try decoder.next(&giant) == nil, "no limit, so it is waited for")
    }

    @Test("before anything is agreed on there is a limit too")
    func initialLimit() throws {
        var decoder = FrameDecoder()
        var head = try #require(Self.body(131_065).getSlice(at: 0, length: 7))
        #expect(throws: AMQPError.self) { try decoder.next(&head) }
    }

    @Test("what is no frame is refused", arguments: refusedBytes)
    func refused(_ bytes: [UInt8]) {
        var decoder = FrameDecoder()
        var buffer = ByteBuffer(bytes: bytes)
        #expect { try decoder.next(&buffer) } throws: { ($0 as? AMQPError)?.code == .protocolViolation }
    }

    static let refusedBytes: [[UInt8]] = [
        [3, 0, 1, 0, 0, 0, 1, 7, 0xCD],  // a bad end octet
        [8, 0, 0, 0, 0, 0, 1, 7, 0xCE],  // a heartbeat with a payload
        [4, 0, 0, 0, 0, 0, 0, 0xCE],  // an unknown type
        [0, 0, 0, 0, 0, 0, 0, 0xCE],
        [1, 0, 0, 0, 0, 0, 0, 0xCE],  // a method without a number
        [1, 0, 0, 0, 0, 0, 4, 0, 99, 0, 1, 0xCE],  // an unknown class
        [1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 99, 0xCE],  // an unknown method
        [2, 0, 1, 0, 0, 0, 14, 0, 50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xCE],  // a header of another class
        [2, 0, 1, 0, 0, 0, 14, 0, 60, 0, 0, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xCE],  // a size that no memory has
        [2, 0, 1, 0, 0, 0, 15, 0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xCE],  // a byte after the properties
        [0x48, 0x54, 0x54, 0x50, 0x2F, 0x31, 0x2E, 0x31],  // "HTTP/1.1"
    ]

    @Test("a server of another version is named, however its header is cut")
    func protocolHeader() throws {
        let header = ByteBuffer(bytes: Array("AMQP".utf8) + [0, 1, 0, 0])
        for length in 0..<8 {
            var decoder = FrameDecoder()
            var part = try #require(header.getSlice(at: 0, length: length))
            #expect(try decoder.next(&part) == nil, "\(length) bytes")
        }
        var decoder = FrameDecoder()
        var buffer = header
        #expect { try decoder.next(&buffer) } throws: { "\($0)".contains("AMQP 1-0-0, where 0-9-1 was expected") }
    }

    // MARK: Helpers

    static let frames: [Frame] =
        MethodSamples.all.map { .method(channel: 5, $0) }
        + [
            .heartbeat, .header(channel: 1, Frame.ContentHeader(bodySize: 3, properties: MethodSamples.fullProperties)),
            .body(channel: 1, ByteBuffer(string: "abc")), .body(channel: .max, ByteBuffer()), .heartbeat,
        ]

    static var stream: ByteBuffer {
        var buffer = ByteBuffer()
        for frame in Self.frames { frame.write(to: &buffer) }
        return buffer
    }

    private static func body(_ size: Int) -> ByteBuffer {
        var buffer = ByteBuffer()
        Frame.body(channel: 1, ByteBuffer(repeating: 7, count: size)).write(to: &buffer)
        return buffer
    }

    /// Feeds pieces as a socket would.
    private static func frames(in pieces: [ByteBuffer]) throws -> [Frame] {
        var decoder = FrameDecoder()
        var unread = ByteBuffer()
        var frames: [Frame] = []
        for var piece in pieces {
            unread.writeBuffer(&piece)
            while let frame = try decoder.next(&unread) { frames.append(frame) }
        }
        #expect(unread.readableBytes == 0)
        return frames
    }
}
