import JSON
import NIOCore

/// The frames of the control channel to the add-on in mitmdump; its side is `armada_agent/proxy/channel.py`, what they say is told in `addon.py`.
///
/// Each is a length (u32, little endian, of what follows), the length of its head (u32, little endian), its head as a JSON object, and bytes.
enum ControlFrame {
    static func encode(_ head: JSONObject) -> ByteBuffer {
        var frame = ByteBuffer()
        frame.writeInteger(UInt32(0))
        frame.writeInteger(UInt32(0))
        JSON.object(head).write(to: &frame)
        let length = frame.writerIndex - 8
        frame.setInteger(UInt32(truncatingIfNeeded: length + 4), at: 0, endianness: .little)
        frame.setInteger(UInt32(truncatingIfNeeded: length), at: 4, endianness: .little)
        return frame
    }
}

/// What the add-on tells.
enum ControlEvent: Equatable {
    /// mitmproxy listens.
    case ready(port: Int)
    /// A command has been done, or could not be, for a reason.
    case answer(id: Int, error: String?)
    /// A retriever has put a value into its queue, pickled.
    case value(queue: String, ByteBuffer)
    /// A response's body had so many bytes.
    case count(Int)
    /// A function of the user's has raised.
    case raised(function: String, error: String, times: Int, traceback: String)

    /// - Parameter payload: of a frame, without its length.
    /// - Throws: `protocol` for what the add-on does not send.
    init(parsing payload: ByteBuffer) throws(ModuleError) {
        var payload = payload
        guard let length = payload.readInteger(endianness: .little, as: UInt32.self),
            let head = payload.readSlice(length: Int(length))
        else { throw Self.unknown("\(payload.readableBytes) bytes") }
        let json: JSON
        do throws(JSONError) {
            json = try JSON(parsing: head)
        } catch {
            throw Self.unknown("\(error)")
        }
        switch json["type"]?.string {
        case "ready": self = .ready(port: try Self.number("port", json))
        case "answer": self = .answer(id: try Self.number("id", json), error: json["error"]?.string)
        case "value": self = .value(queue: try Self.text("queue", json), payload)
        case "count": self = .count(try Self.number("bytes", json))
        case "raised":
            self = .raised(
                function: try Self.text("function", json),
                error: try Self.text("error", json),
                times: try Self.number("times", json),
                traceback: String(buffer: payload)
            )
        default: throw Self.unknown("the type \(json["type"] ?? .null)")
        }
    }

    private static func number(_ name: String, _ json: JSON) throws(ModuleError) -> Int {
        guard let value = json[name]?.int else { throw Self.unknown("'\(name)' is \(json[name]?.kind ?? "missing")") }
        return value
    }

    private static func text(_ name: String, _ json: JSON) throws(ModuleError) -> String {
        guard let value = json[name]?.string else {
            throw Self.unknown("'\(name)' is \(json[name]?.kind ?? "missing")")
        }
        return value
    }

    private static func unknown(_ found: String) -> ModuleError {
        ModuleError("protocol", "mitmproxy's add-on has sent what this agent does not know: \(found)")
    }
}
