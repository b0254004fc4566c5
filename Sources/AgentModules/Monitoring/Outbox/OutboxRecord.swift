import JSON
import NIOCore
import NIOHTTP1

/// What an outbox keeps of one call: its messages are delivered one after the other.
struct OutboxEntry: Sendable, Equatable {
    var id: UInt64
    /// The job of the platform that it is about: what has the same one is delivered in order.
    var lane: String
    /// The task that made the call.
    var task: String?
    var messages: [MonitoringMessage]
}

/// One record of an outbox's file.
///
/// The file begins with ``header``; each record is the length of its payload and the payload's CRC-32 (u32 each, little endian), and the payload, JSON. A crash can leave
/// the last record torn; reading ends there, and nobody has been told that it was kept.
enum OutboxRecord: Sendable, Equatable {
    case entry(OutboxEntry)
    case delivered(UInt64)

    /// Names the format.
    static let header = ByteBuffer(string: "ARMOUT1\n")

    /// Longer ones than a call can make are not records.
    private static let limit = 128 << 20

    func write(to buffer: inout ByteBuffer) {
        let payload = self.json.encoded
        buffer.writeInteger(UInt32(truncatingIfNeeded: payload.readableBytes), endianness: .little)
        buffer.writeInteger(CRC32.checksum(of: payload), endianness: .little)
        buffer.writeImmutableBuffer(payload)
    }

    /// Reads the next record; `nil` at the end, and where the bytes are none.
    static func read(from buffer: inout ByteBuffer) -> OutboxRecord? {
        var reader = buffer
        guard let length = reader.readInteger(endianness: .little, as: UInt32.self), length <= self.limit,
            let checksum = reader.readInteger(endianness: .little, as: UInt32.self),
            let payload = reader.readSlice(length: Int(length)), CRC32.checksum(of: payload) == checksum,
            let json = try? JSON(parsing: payload), let record = OutboxRecord(json)
        else { return nil }
        buffer = reader
        return record
    }

    private var json: JSON {
        switch self {
        case .delivered(let id): return ["delivered": .int(Int64(bitPattern: id))]
        case .entry(let entry):
            let messages = entry.messages.map { message -> JSON in
                ["method": .string(message.method.rawValue), "path": .string(message.path), "body": message.body]
            }
            return [
                "id": .int(Int64(bitPattern: entry.id)), "lane": .string(entry.lane), "task": JSON(entry.task),
                "messages": .array(messages),
            ]
        }
    }

    private init?(_ json: JSON) {
        if let id = json["delivered"]?.int {
            self = .delivered(UInt64(bitPattern: Int64(id)))
            return
        }
        guard let id = json["id"]?.int, let lane = json["lane"]?.string, let list = json["messages"]?.array else {
            return nil
        }
        var messages: [MonitoringMessage] = []
        for message in list {
            guard let method = message["method"]?.string, let path = message["path"]?.string, let body = message["body"]
            else { return nil }
            messages.append(MonitoringMessage(method: HTTPMethod(rawValue: method), path: path, body: body))
        }
        let task = json["task"]?.string
        self = .entry(OutboxEntry(id: UInt64(bitPattern: Int64(id)), lane: lane, task: task, messages: messages))
    }
}

/// The checksum of zip and Ethernet (reflected polynomial 0xEDB88320).
enum CRC32 {
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { value, _ in value & 1 == 0 ? value >> 1 : value >> 1 ^ 0xEDB8_8320 }
    }

    static func checksum(of buffer: ByteBuffer) -> UInt32 {
        buffer.withUnsafeReadableBytes { bytes in
            ~bytes.reduce(~0) { value, byte in
                value >> 8 ^ self.table[Int(truncatingIfNeeded: (value ^ UInt32(byte)) & 0xFF)]
            }
        }
    }
}
