/// Text that is not JSON, or not within the parser's bounds.
public struct JSONError: Error, Equatable, CustomStringConvertible {
    /// What is wrong, with what was found and what was expected.
    public var message: String
    /// Where, counted in bytes from the start of the text.
    public var offset: Int

    public init(_ message: String, at offset: Int) {
        self.message = message
        self.offset = offset
    }

    public var description: String { "not JSON: \(self.message) at byte \(self.offset)" }
}
