import Glibc
import NIOCore
import Testing

@testable import AMQP

/// Feeds the decoder bytes that no broker would send. It must yield frames or throw, in bounded time, and never trap.
///
/// `FUZZ_ITERATIONS` and `FUZZ_SEED` make the run longer or another; see `scripts/fuzz`.
@Suite("Decoder fuzz")
struct DecoderFuzzTests {
    @Test("mutated frames")
    func mutatedFrames() async {
        await self.run(salt: 1) { generator in
            var buffer = ByteBuffer()
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                FrameDecoderTests.frames.randomElement(using: &generator)?.write(to: &buffer)
            }
            var bytes = Array(buffer.readableBytesView)
            for _ in 0..<Int.random(in: 1...6, using: &generator) { Self.mutate(&bytes, &generator) }
            return bytes
        }
    }

    @Test("well-formed frames around a random payload")
    func randomPayloads() async {
        await self.run(salt: 2) { generator in
            let size = Int.random(in: 0...80, using: &generator)
            let kinds: [UInt8] = [1, 1, 2, 2, 3, 8]
            let kind = kinds.randomElement(using: &generator) ?? 1
            var payload: [UInt8] = (0..<size).map { _ in UInt8.random(in: 0...255, using: &generator) }
            // A known class and method most of the time, or all would end there.
            let id = MethodSamples.all.randomElement(using: &generator)?.id ?? Method.ID(60, 60)
            let classID = UInt8(truncatingIfNeeded: id.classID)
            let methodID = UInt8(truncatingIfNeeded: id.methodID)
            let start: [UInt8] = kind == 2 ? [0, 60, 0, 0] : [0, classID, 0, methodID]
            if kind < 3 { payload = start + payload }
            let head: [UInt8] = [kind, 0, 1, 0, 0, 0, UInt8(truncatingIfNeeded: payload.count)]
            return head + payload + [0xCE]
        }
    }

    @Test("random bytes")
    func randomBytes() async {
        await self.run(salt: 3) { generator in
            (0..<Int.random(in: 0...64, using: &generator)).map { _ in UInt8.random(in: 0...255, using: &generator) }
        }
    }

    private func run(salt: UInt64, _ input: (inout SeededGenerator) -> [UInt8]) async {
        let iterations = Self.number("FUZZ_ITERATIONS") ?? 5000
        let seed = Self.number("FUZZ_SEED") ?? 1
        var frames = 0
        var refusals = 0
        for iteration in 0..<iterations {
            // Tests that wait for something run on the same few threads.
            if iteration.isMultiple(of: 50) { await Task.yield() }
            // Each case by its own seed, so that one can be repeated alone.
            var generator = SeededGenerator(seed: (seed &* 1_000_003 &+ iteration) &* 16 &+ salt)
            let bytes = input(&generator)
            var decoder = FrameDecoder()
            decoder.frameMax = 4096
            var buffer = ByteBuffer(bytes: bytes)
            do throws(AMQPError) {
                while let frame = try decoder.next(&buffer) {
                    frames += 1
                    Self.readAll(frame)
                }
            } catch {
                refusals += 1
                #expect(error.code == .protocolViolation, "seed \(seed), iteration \(iteration)")
            }
        }
        #expect(refusals > 0, "the mutations did nothing")
        if salt != 3 { #expect(frames > 0, "nothing got past the frame") }
    }

    /// A table is decoded when it is read, so it must be read.
    private static func readAll(_ frame: Frame) {
        if case .header(_, let header) = frame, let headers = header.properties.headers { Self.readAll(headers) }
        if case .method(_, .connectionStart(let properties, _, _)) = frame { Self.readAll(properties) }
        if case .method(_, .basicConsume(let consume)) = frame { Self.readAll(consume.arguments) }
        // What was accepted can be written again.
        var buffer = ByteBuffer()
        frame.write(to: &buffer)
    }

    private static func readAll(_ table: FieldTable) {
        var fields = 0
        table.forEachField { _, value in
            fields += 1
            Self.readAll(value)
        }
        #expect(table.isEmpty || fields > 0, "a validated table that can't be read")
        _ = table["nested"]
    }

    private static func readAll(_ value: FieldValue) {
        switch value {
        case .table(let table): Self.readAll(table)
        case .array(let array): array.forEachValue { Self.readAll($0) }
        default: _ = (value.string, value.int, value.bool)
        }
    }

    private static func mutate(_ bytes: inout [UInt8], _ generator: inout SeededGenerator) {
        guard let index = bytes.indices.randomElement(using: &generator) else { return }
        switch Int.random(in: 0...4, using: &generator) {
        case 0: bytes[index] = UInt8.random(in: 0...255, using: &generator)
        case 1: bytes[index] ^= 1 << UInt8.random(in: 0...7, using: &generator)
        case 2: bytes.remove(at: index)
        case 3: bytes.insert([0, 1, 0x7F, 0x80, 0xFF].randomElement(using: &generator) ?? 0, at: index)
        default: bytes.removeSubrange(index..<min(index + 9, bytes.endIndex))
        }
    }

    private static func number(_ name: String) -> UInt64? {
        getenv(name).flatMap { UInt64(String(cString: $0)) }
    }
}
