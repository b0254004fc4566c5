import JSON
import NIOCore

/// The frames of a module connection; the Python side is `armada_agent/sdk/_connection.py`.
///
/// Each is a length (u32, little endian, of what follows) and a payload. A request's payload is a JSON object, `{"method", "arguments", "job"}`; an answer's is a
/// kind (u8) and a value in `marshal` format. A connection has one call at a time, so that an answer needs no number; callers open as many connections as they
/// make calls at once.
enum ModuleFrame {
    /// The longest request, in bytes. The SDK refuses to send a longer one; a connection that does is closed.
    static let limit = 64 << 20

    enum Kind: UInt8 {
        /// The answer: a value.
        case value = 0
        /// The answer: a dictionary with `kind`, `message` and `details`.
        case error = 1
        /// A part of an answer that more follows.
        case part = 2
    }

    static func encode(_ kind: Kind, _ value: PythonValue) -> ByteBuffer {
        var frame = ByteBufferAllocator().buffer(capacity: value.encoded.readableBytes + 5)
        frame.writeInteger(UInt32(truncatingIfNeeded: value.encoded.readableBytes + 1), endianness: .little)
        frame.writeInteger(kind.rawValue)
        frame.writeImmutableBuffer(value.encoded)
        return frame
    }

    static func encode(_ error: ModuleError) -> ByteBuffer {
        Self.encode(
            .error,
            .json(["kind": .string(error.kind), "message": .string(error.message), "details": .object(error.details)])
        )
    }
}

/// Cuts a connection's bytes into requests.
struct ModuleFrameDecoder: NIOSingleStepByteToMessageDecoder {
    typealias InboundOut = ByteBuffer

    mutating func decode(buffer: inout ByteBuffer) throws -> ByteBuffer? {
        guard let length = buffer.getInteger(at: buffer.readerIndex, endianness: .little, as: UInt32.self) else {
            return nil
        }
        guard length <= ModuleFrame.limit else {
            throw ModuleError("protocol", "a request of \(length) bytes; at most \(ModuleFrame.limit) are taken")
        }
        guard buffer.readableBytes >= 4 + Int(length) else { return nil }
        buffer.moveReaderIndex(forwardBy: 4)
        return buffer.readSlice(length: Int(length))
    }

    mutating func decodeLast(buffer: inout ByteBuffer, seenEOF: Bool) throws -> ByteBuffer? {
        try self.decode(buffer: &buffer)
    }
}

/// A request that was understood.
struct ModuleRequest: Equatable {
    var method: String
    var arguments: JSONObject
    var job: String?

    /// - Throws: what is wrong with it.
    init(parsing payload: ByteBuffer) throws(ModuleError) {
        let json: JSON
        do throws(JSONError) {
            json = try JSON(parsing: payload)
        } catch {
            throw ModuleError("protocol", "a request that is not JSON: \(error)")
        }
        guard let method = json["method"]?.string else {
            throw ModuleError("protocol", "a request without 'method'; it is \(json.kind)")
        }
        self.method = method
        self.arguments = json["arguments"]?.object ?? [:]
        self.job = json["job"]?.string
    }
}
