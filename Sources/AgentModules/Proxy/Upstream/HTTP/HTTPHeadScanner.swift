import NIOCore

/// Cuts heads, of requests and of responses, out of bytes that come in pieces.
struct HTTPHeadScanner: Equatable {
    /// The longest head, in bytes.
    static let limit = 256 << 10

    /// Bytes that hold no end.
    private var searched = 0

    /// The next head, with the empty line at its end; `nil` until all of it is there. Empty lines before it are skipped (RFC 9112, section 2.2).
    mutating func next(_ input: inout ByteBuffer) throws(HTTPProblem) -> ByteBuffer? {
        if self.searched == 0 { input.skipLineEnds() }
        let start = self.searched
        let end = input.withUnsafeReadableBytes { bytes -> Int? in
            var index = start
            while index < bytes.count {
                if bytes[index] == .lineFeed {
                    if index + 1 < bytes.count, bytes[index + 1] == .lineFeed { return index + 2 }
                    if index + 2 < bytes.count, bytes[index + 1] == .carriageReturn, bytes[index + 2] == .lineFeed {
                        return index + 3
                    }
                }
                index += 1
            }
            return nil
        }
        guard (end ?? input.readableBytes) <= Self.limit else {
            throw HTTPProblem("a head of more than \(Self.limit >> 10) KiB")
        }
        guard let end else {
            // What may be the beginning of the end is looked at again.
            self.searched = max(0, input.readableBytes - 2)
            return nil
        }
        self.searched = 0
        return input.readSlice(length: end)
    }
}

extension ByteBuffer {
    fileprivate mutating func skipLineEnds() {
        while let byte: UInt8 = self.getInteger(at: self.readerIndex), byte == .lineFeed || byte == .carriageReturn {
            self.moveReaderIndex(forwardBy: 1)
        }
    }

    /// The next line without its end, `nil` where there is none.
    mutating func readLine() -> ByteBuffer? {
        guard let end = self.readableBytesView.firstIndex(of: .lineFeed),
            var line = self.readSlice(length: end - self.readerIndex + 1)
        else { return nil }
        line.moveWriterIndex(to: line.writerIndex - 1)
        if line.readableBytesView.last == .carriageReturn { line.moveWriterIndex(to: line.writerIndex - 1) }
        return line
    }
}

extension UInt8 {
    static let lineFeed = UInt8(ascii: "\n")
    static let carriageReturn = UInt8(ascii: "\r")
    static let space = UInt8(ascii: " ")
    static let tab = UInt8(ascii: "\t")
}
