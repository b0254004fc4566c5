public import JSON
public import Marshal
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
