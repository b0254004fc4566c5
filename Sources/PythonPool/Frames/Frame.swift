import NIOCore
import Spawning

/// The frame types; the Python side names them in `armada_agent/runtime/wire.py`.
enum FrameType: UInt8, Sendable {
    case ready = 1
    case started = 2
    case result = 3
    case fetch = 4
    case output = 5
    case fatal = 6
    case body = 16
    case booted = 32
    case loaded = 33
    case loadFailed = 34
    case workerExited = 35
    case reply = 36
    case callFailed = 37
    case workerForked = 38
    case heldUp = 39
    case load = 48
    case call = 49
    case reload = 50
    case stop = 51
}

/// What is wrong with bytes from a Python process.
struct FrameError: Error, Equatable, CustomStringConvertible {
    var description: String
}

/// Cuts a stream into frames: a length (u32, little endian, of what follows), a type (u8), a payload.
struct FrameDecoder {
    private var pending: ByteBuffer?
    private let limit: Int

    init(limit: Int) {
        self.limit = limit
    }

    /// Takes bytes and calls `body` with each frame that is complete.
    mutating func decode(
        _ bytes: ByteBuffer,
        _ body: (FrameType, inout ByteBuffer) throws -> Void
    ) throws {
        var buffer: ByteBuffer
        if var joined = pending.take() {
            joined.writeImmutableBuffer(bytes)
            buffer = joined
        } else {
            buffer = bytes
        }
        while let length = buffer.getInteger(at: buffer.readerIndex, endianness: .little, as: UInt32.self) {
            let count = Int(length)
            guard count >= 1, count <= limit else { throw FrameError(description: "a frame of \(count) bytes") }
            guard buffer.readableBytes >= 4 + count else { break }
            buffer.moveReaderIndex(forwardBy: 4)
            guard var payload = buffer.readSlice(length: count), let raw = payload.readInteger(as: UInt8.self) else {
                throw FrameError(description: "a frame cut short")
            }
            guard let type = FrameType(rawValue: raw) else {
                throw FrameError(description: "a frame of the unknown type \(raw)")
            }
            try body(type, &payload)
        }
        if buffer.readableBytes > 0 {
            // Not to hold a large receive buffer for the head of a small frame.
            pending = ByteBuffer(bytes: buffer.readableBytesView)
        }
    }

    /// Whether the stream could end here.
    var isAtBoundary: Bool { pending == nil }
}

/// A frame from a worker.
enum WorkerFrame: Equatable {
    case ready(pid: Int32)
    case started(job: UInt64)
    /// `isLast`: the worker ends now, at a limit of tasks or memory.
    case result(job: UInt64, outcome: PoolOutcome, runtime: Double, isLast: Bool)
    case fetch(job: UInt64)
    case output(job: UInt64, stream: UInt8, level: UInt16, text: String)
    case fatal(String)

    init(_ type: FrameType, _ payload: inout ByteBuffer) throws {
        switch type {
        case .ready: self = .ready(pid: Int32(truncatingIfNeeded: try payload.number(UInt32.self)))
        case .started: self = .started(job: try payload.number(UInt64.self))
        case .fetch: self = .fetch(job: try payload.number(UInt64.self))
        case .result: self = try Self.result(&payload)
        case .output:
            let job = try payload.number(UInt64.self)
            let stream = try payload.number(UInt8.self)
            _ = try payload.number(UInt8.self)
            let level = try payload.number(UInt16.self)
            self = .output(job: job, stream: stream, level: level, text: payload.rest())
        case .fatal: self = .fatal(payload.rest())
        case .body, .booted, .loaded, .loadFailed, .workerExited, .reply, .callFailed, .workerForked, .heldUp, .load,
            .call, .reload, .stop:
            throw FrameError(description: "a frame of type \(type) from a worker")
        }
    }

    private static func result(_ payload: inout ByteBuffer) throws -> WorkerFrame {
        let job = try payload.number(UInt64.self)
        let outcome = try payload.number(UInt8.self)
        let flags = try payload.number(UInt8.self)
        _ = try payload.number(UInt16.self)
        let runtime = Double(bitPattern: try payload.number(UInt64.self))
        let isLast = flags & 2 == 2
        if outcome == 0 {
            return .result(job: job, outcome: .success(result: payload.rest()), runtime: runtime, isLast: isLast)
        }
        let failure = PoolFailure(
            representation: try payload.sizedText(),
            type: try payload.sizedText(),
            traceback: try payload.sizedText(),
            when: try payload.sizedText()
        )
        let value: PoolOutcome
        switch outcome {
        case 1: value = .failure(failure, stored: true)
        case 2: value = .retry(failure)
        case 3: value = .ignore
        case 4: value = .reject(requeue: flags & 1 == 1, failure)
        case 5: value = .failure(failure, stored: false)
        case 6: value = .undecodable(reason: failure.representation)
        case 7: value = .malformed(reason: failure.representation)
        default: throw FrameError(description: "a result with the unknown outcome \(outcome)")
        }
        return .result(job: job, outcome: value, runtime: runtime, isLast: isLast)
    }
}

/// A frame from the main process.
enum MainFrame: Equatable {
    case booted(pid: Int32)
    case loaded(ByteBuffer)
    case loadFailed(LoadFailure)
    case workerForked(index: UInt32, generation: UInt32, pid: Int32)
    case workerExited(index: UInt32, generation: UInt32, pid: Int32, exit: ProcessExit)
    case reply(id: UInt64, ByteBuffer)
    case callFailed(id: UInt64, kind: String, message: String)
    /// What of the user's it is in, asked for by SIGUSR1.
    case heldUp(function: String, place: String)

    init(_ type: FrameType, _ payload: inout ByteBuffer) throws {
        switch type {
        case .booted: self = .booted(pid: Int32(truncatingIfNeeded: try payload.number(UInt32.self)))
        case .loaded: self = .loaded(payload)
        case .loadFailed:
            self = .loadFailed(
                LoadFailure(
                    kind: try payload.sizedText(),
                    message: try payload.sizedText(),
                    traceback: try payload.sizedText()
                )
            )
        case .workerForked:
            self = .workerForked(
                index: try payload.number(UInt32.self),
                generation: try payload.number(UInt32.self),
                pid: try payload.number(Int32.self)
            )
        case .workerExited:
            let index = try payload.number(UInt32.self)
            let generation = try payload.number(UInt32.self)
            let pid = try payload.number(Int32.self)
            let code = try payload.number(Int32.self)
            let signal = try payload.number(Int32.self)
            self = .workerExited(
                index: index,
                generation: generation,
                pid: pid,
                exit: signal != 0 ? .signal(signal) : .code(code)
            )
        case .reply: self = .reply(id: try payload.number(UInt64.self), payload)
        case .callFailed:
            self = .callFailed(
                id: try payload.number(UInt64.self),
                kind: try payload.sizedText(),
                message: try payload.sizedText()
            )
        case .heldUp: self = .heldUp(function: try payload.sizedText(), place: try payload.sizedText())
        case .ready, .started, .result, .fetch, .output, .fatal, .body, .load, .call, .reload, .stop:
            throw FrameError(description: "a frame of type \(type) from the main process")
        }
    }
}

extension ByteBuffer {
    fileprivate mutating func number<T: FixedWidthInteger>(_ type: T.Type) throws -> T {
        guard let value = readInteger(endianness: .little, as: type) else {
            throw FrameError(description: "a frame that is too short")
        }
        return value
    }

    fileprivate mutating func sizedText() throws -> String {
        let length = Int(try number(UInt32.self))
        guard let bytes = readSlice(length: length) else { throw FrameError(description: "a text that is cut short") }
        return String(buffer: bytes)
    }

    fileprivate mutating func rest() -> String {
        readString(length: readableBytes) ?? ""
    }

    /// Writes a frame whose payload `body` writes.
    mutating func writeFrame(_ type: FrameType, _ body: (inout ByteBuffer) -> Void) {
        let start = writerIndex
        writeInteger(UInt32(0), endianness: .little)
        writeInteger(type.rawValue)
        body(&self)
        setInteger(UInt32(truncatingIfNeeded: writerIndex - start - 4), at: start, endianness: .little)
    }
}
