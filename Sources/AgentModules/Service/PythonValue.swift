public import Celery
public import JSON
public import NIOCore

/// A value that goes to Python, encoded in its `marshal` format.
public struct PythonValue: Sendable {
    public let encoded: ByteBuffer

    /// - Parameter write: writes exactly one value.
    public init(_ write: (inout MarshalWriter) -> Void) {
        var writer = MarshalWriter()
        write(&writer)
        self.encoded = writer.buffer
    }

    public static var none: PythonValue { PythonValue { $0.none() } }
    public static func string(_ text: String) -> PythonValue { PythonValue { $0.string(text) } }
    public static func int(_ number: Int) -> PythonValue { PythonValue { $0.int(Int64(number)) } }
    public static func bool(_ value: Bool) -> PythonValue { PythonValue { $0.bool(value) } }
    public static func bytes(_ value: ByteBuffer) -> PythonValue { PythonValue { $0.bytes(value) } }
    public static func json(_ value: JSON) -> PythonValue { PythonValue { $0.json(value) } }
}

extension MarshalWriter {
    /// A value as Python's `json.loads` would give it.
    public mutating func json(_ value: JSON) {
        switch value {
        case .null: self.none()
        case .bool(let value): self.bool(value)
        case .int(let value): self.int(value)
        // The SDK asks for no such numbers; as text they keep their digits.
        case .bigInteger(let digits): self.string(digits)
        case .double(let value): self.double(value)
        case .string(let value): self.string(value)
        case .array(let elements):
            self.openList(count: elements.count)
            for element in elements { self.json(element) }
        case .object(let object):
            self.openDictionary()
            for (key, value) in object {
                self.string(key)
                self.json(value)
            }
            self.closeDictionary()
        }
    }
}
