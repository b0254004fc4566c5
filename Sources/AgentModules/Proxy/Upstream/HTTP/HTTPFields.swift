import NIOCore

/// The fields of a head, as they came.
struct HTTPFields: Equatable {
    struct Field: Equatable {
        /// In lower case.
        var name: String
        /// As it came, without its end.
        var line: ByteBuffer

        var value: String {
            let bytes = self.line.readableBytesView
            guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")) else { return "" }
            var value = bytes[(colon + 1)...]
            while let first = value.first, first == .space || first == .tab { value.removeFirst() }
            while let last = value.last, last == .space || last == .tab { value.removeLast() }
            return String(decoding: value, as: UTF8.self)
        }
    }

    private(set) var fields: [Field] = []

    /// - Parameter lines: ends with an empty one.
    init(parsing lines: inout ByteBuffer) throws(HTTPProblem) {
        while let line = lines.readLine(), line.readableBytes > 0 {
            let bytes = line.readableBytesView
            if let first = bytes.first, first == .space || first == .tab {
                // A continued line (RFC 9112, section 5.2); none of the fields that count here is ever written so.
                guard let last = self.fields.indices.last else {
                    throw HTTPProblem("white space before the first field")
                }
                self.fields[last].line.writeImmutableBuffer(line)
                continue
            }
            guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")), colon > bytes.startIndex else {
                throw HTTPProblem("a line without a field's name")
            }
            let name = bytes[..<colon]
            guard name.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
                throw HTTPProblem("a field's name with white space")
            }
            self.fields.append(Field(name: String(decoding: name, as: UTF8.self).lowercased(), line: line))
        }
    }

    func first(_ name: String) -> String? { self.fields.first { $0.name == name }?.value }

    func contains(_ name: String) -> Bool { self.fields.contains { $0.name == name } }

    /// The elements of a list (RFC 9110, section 5.6.1), in lower case.
    func list(_ name: String) -> [Substring] {
        self.fields.filter { $0.name == name }
            .flatMap { $0.value.lowercased().split(separator: ",") }
            .map { element in
                var element = element.drop { $0 == " " || $0 == "\t" }
                while let last = element.last, last == " " || last == "\t" { element.removeLast() }
                return element
            }
            .filter { !$0.isEmpty }
    }

    /// The length that `Content-Length` tells (RFC 9112, section 6.3).
    func contentLength() throws(HTTPProblem) -> Int? {
        let values = Set(self.list("content-length"))
        guard let value = values.first else { return nil }
        guard values.count == 1, value.utf8.allSatisfy({ $0.hexadecimalDigit ?? 16 < 10 }), let length = Int(value)
        else {
            throw HTTPProblem("a Content-Length that is no number, or more than one")
        }
        return length
    }

    /// Whether the connection is to stay open afterwards (RFC 9112, section 9.3).
    func keepsAlive(minorVersion: Int) -> Bool {
        let options = self.list("connection") + self.list("proxy-connection")
        return minorVersion > 0 ? !options.contains("close") : options.contains("keep-alive")
    }

    func write(to buffer: inout ByteBuffer, without omitted: Set<String>) {
        for field in self.fields where !omitted.contains(field.name) {
            buffer.writeImmutableBuffer(field.line)
            buffer.writeStaticString("\r\n")
        }
    }
}
