/// Cuts a stream of bytes into lines as they come: at line feeds and carriage returns (progress bars), never longer
/// than a limit.
struct LineSplitter {
    /// In bytes; what goes beyond is a line of its own.
    static let maximumLine = 8192

    private var partial: [UInt8] = []

    /// The lines that end within `bytes`, without empty ones.
    mutating func append(_ bytes: some Sequence<UInt8>) -> [String] {
        var lines: [String] = []
        for byte in bytes {
            if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") {
                if let line = self.finish() { lines.append(line) }
            } else {
                self.partial.append(byte)
                if self.partial.count >= Self.maximumLine, let line = self.finish() { lines.append(line) }
            }
        }
        return lines
    }

    /// The rest when the stream has ended.
    mutating func finish() -> String? {
        defer { self.partial.removeAll(keepingCapacity: true) }
        return self.partial.isEmpty ? nil : String(decoding: self.partial, as: UTF8.self)
    }
}
