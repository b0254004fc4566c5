import NIOCore
import Spawning
import Testing

@testable import PythonPool

@Suite("Frames")
struct FrameTests {
    private func frames(_ bytes: ByteBuffer, piece: Int, limit: Int = 1000) throws -> [WorkerFrame] {
        var decoder = FrameDecoder(limit: limit)
        var rest = bytes
        var found: [WorkerFrame] = []
        while let part = rest.readSlice(length: min(piece, rest.readableBytes)), part.readableBytes > 0 {
            try decoder.decode(part) { found.append(try WorkerFrame($0, &$1)) }
        }
        #expect(decoder.isAtBoundary)
        return found
    }

    private func sample() -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.writeFrame(.ready) { $0.writeInteger(UInt32(42), endianness: .little) }
        bytes.writeFrame(.started) { $0.writeInteger(UInt64(7), endianness: .little) }
        bytes.writeFrame(.result) {
            $0.writeInteger(UInt64(7), endianness: .little)
            $0.writeBytes([0, 0, 0, 0])
            $0.writeInteger((1.5).bitPattern, endianness: .little)
            $0.writeString("None")
        }
        bytes.writeFrame(.result) {
            $0.writeInteger(UInt64(8), endianness: .little)
            $0.writeBytes([4, 3, 0, 0])
            $0.writeInteger((0.0).bitPattern, endianness: .little)
            for text in ["Reject()", "Reject", "trace", ""] {
                $0.writeInteger(UInt32(text.utf8.count), endianness: .little)
                $0.writeString(text)
            }
        }
        return bytes
    }

    @Test("Frames are found however the bytes are cut", arguments: [1, 2, 3, 7, 1000])
    func cuts(piece: Int) throws {
        let failure = PoolFailure(representation: "Reject()", type: "Reject", traceback: "trace")
        #expect(
            try frames(sample(), piece: piece) == [
                .ready(pid: 42), .started(job: 7),
                .result(job: 7, outcome: .success(result: "None"), runtime: 1.5, isLast: false),
                .result(job: 8, outcome: .reject(requeue: true, failure), runtime: 0, isLast: true),
            ]
        )
    }

    @Test(
        "Hostile frames are errors",
        arguments: [
            [0, 0, 0, 0, 1],  // no type
            [255, 255, 255, 255, 1],  // too long
            [1, 0, 0, 0, 99],  // unknown type
            [1, 0, 0, 0, 32],  // of another peer
            [2, 0, 0, 0, 1, 1],  // too short
            [13, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0],  // a result without runtime
            [22, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 77, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9],  // unknown outcome
        ] as [[UInt8]]
    )
    func hostile(bytes: [UInt8]) {
        #expect(throws: FrameError.self) { try frames(ByteBuffer(bytes: bytes), piece: 1000) }
    }

    @Test("Random bytes neither trap nor are taken for a result with a job cut short", arguments: 0..<50)
    func random(seed: Int) {
        var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 | 1
        var bytes = sample()
        for _ in 0..<4 {
            state = state &* 6_364_136_223_846_793_005 &+ 1
            let place = Int(state >> 33) % bytes.readableBytes
            bytes.setInteger(UInt8(truncatingIfNeeded: state >> 20), at: place)
        }
        var decoder = FrameDecoder(limit: 1000)
        var count = 0
        try? decoder.decode(bytes) {
            count += 1
            _ = try WorkerFrame($0, &$1)
        }
        #expect(count <= 40)
    }

    @Test("Lines are cut at their ends and at the limit, not inside a character")
    func lines() {
        var splitter = LineSplitter(limit: 5)
        var found: [String] = []
        splitter.append(ByteBuffer(string: "a\r\nb")) { found.append($0) }
        #expect(found == ["a"])
        splitter.append(ByteBuffer(string: "c\n\n")) { found.append($0) }
        #expect(found == ["a", "bc", ""])
        splitter.append(ByteBuffer(string: "abcdé12")) { found.append($0) }
        splitter.finish { found.append($0) }
        #expect(found == ["a", "bc", "", "abcd", "é12"])
    }
}
