public import NIOCore

extension JSON {
    /// How deeply arrays and objects may nest.
    public static let maximumDepth = 512

    /// Parses the readable bytes of `buffer`, which must hold one value and nothing more but white space.
    /// - Throws: ``JSONError`` with what was found where.
    public init(parsing buffer: ByteBuffer) throws(JSONError) {
        let result = buffer.withUnsafeReadableBytes { bytes -> Result<JSON, JSONError> in
            var parser = Parser(bytes: bytes)
            do throws(JSONError) {
                return .success(try parser.document())
            } catch {
                return .failure(error)
            }
        }
        self = try result.get()
    }

    /// Parses UTF-8 text.
    public init(parsing text: String) throws(JSONError) {
        try self.init(parsing: ByteBuffer(string: text))
    }
}

/// A recursive-descent parser over bytes.
private struct Parser {
    let bytes: UnsafeRawBufferPointer
    var position = 0

    init(bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    mutating func document() throws(JSONError) -> JSON {
        let value = try self.value(depth: 0)
        self.skipWhiteSpace()
        guard self.position == self.bytes.count else { throw self.unexpected("the end of the text") }
        return value
    }

    private mutating func value(depth: Int) throws(JSONError) -> JSON {
        guard depth <= JSON.maximumDepth else {
            throw JSONError("nested more than \(JSON.maximumDepth) levels deep", at: self.position)
        }
        self.skipWhiteSpace()
        guard let byte = self.peek() else { throw self.unexpected("a value") }
        switch byte {
        case UInt8(ascii: "{"): return try self.object(depth: depth)
        case UInt8(ascii: "["): return try self.array(depth: depth)
        case UInt8(ascii: "\""): return .string(try self.string())
        case UInt8(ascii: "t"): return try self.word("true", .bool(true))
        case UInt8(ascii: "f"): return try self.word("false", .bool(false))
        case UInt8(ascii: "n"): return try self.word("null", .null)
        case UInt8(ascii: "N"): return try self.word("NaN", .double(.nan))
        case UInt8(ascii: "I"): return try self.word("Infinity", .double(.infinity))
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try self.number()
        default: throw self.unexpected("a value")
        }
    }

    private mutating func object(depth: Int) throws(JSONError) -> JSON {
        self.position += 1
        var object = JSONObject()
        self.skipWhiteSpace()
        if self.take("}") { return .object(object) }
        while true {
            self.skipWhiteSpace()
            guard self.peek() == UInt8(ascii: "\"") else { throw self.unexpected("a member's name in double quotes") }
            let key = try self.string()
            self.skipWhiteSpace()
            guard self.take(":") else { throw self.unexpected("':'") }
            object[key] = try self.value(depth: depth + 1)
            self.skipWhiteSpace()
            if self.take("}") { return .object(object) }
            guard self.take(",") else { throw self.unexpected("',' or '}'") }
        }
    }

    private mutating func array(depth: Int) throws(JSONError) -> JSON {
        self.position += 1
        var elements: [JSON] = []
        self.skipWhiteSpace()
        if self.take("]") { return .array(elements) }
        while true {
            elements.append(try self.value(depth: depth + 1))
            self.skipWhiteSpace()
            if self.take("]") { return .array(elements) }
            guard self.take(",") else { throw self.unexpected("',' or ']'") }
        }
    }

    private mutating func number() throws(JSONError) -> JSON {
        let start = self.position
        if self.take("-"), self.peek() == UInt8(ascii: "I") { return try self.word("Infinity", .double(-.infinity)) }
        let integerStart = self.position
        guard self.skipDigits() > 0 else { throw self.unexpected("a digit") }
        if self.bytes[integerStart] == UInt8(ascii: "0"), self.position - integerStart > 1 {
            throw JSONError("a number with a leading zero", at: start)
        }
        var isInteger = true
        if self.take(".") {
            isInteger = false
            guard self.skipDigits() > 0 else { throw self.unexpected("a digit") }
        }
        if self.take("e") || self.take("E") {
            isInteger = false
            if !self.take("+") { _ = self.take("-") }
            guard self.skipDigits() > 0 else { throw self.unexpected("a digit") }
        }
        let text = String(decoding: self.bytes[start..<self.position], as: UTF8.self)
        if isInteger {
            return Int64(text).map(JSON.int) ?? .bigInteger(text)
        }
        // Python reads an exponent beyond the range of a double as an infinity; so does Swift's conversion.
        guard let value = Double(text) else { throw JSONError("'\(text)' where a number was expected", at: start) }
        return .double(value)
    }

    private mutating func string() throws(JSONError) -> String {
        let opening = self.position
        self.position += 1
        let start = self.position
        // The common case: no escapes, so the text is the bytes as they stand.
        while let byte = self.peek() {
            if byte == UInt8(ascii: "\"") {
                let text = try self.validated(start..<self.position)
                self.position += 1
                return text
            }
            if byte == UInt8(ascii: "\\") { return try self.escapedString(start: start, opening: opening) }
            guard byte >= 0x20 else { throw JSONError("a control character in a string", at: self.position) }
            self.position += 1
        }
        throw JSONError("a string without its closing quote", at: opening)
    }

    private mutating func escapedString(start: Int, opening: Int) throws(JSONError) -> String {
        var text = try self.validated(start..<self.position)
        var run = self.position
        while let byte = self.peek() {
            switch byte {
            case UInt8(ascii: "\""):
                text += try self.validated(run..<self.position)
                self.position += 1
                return text
            case UInt8(ascii: "\\"):
                text += try self.validated(run..<self.position)
                text.unicodeScalars.append(try self.escape())
                run = self.position
            case 0..<0x20:
                throw JSONError("a control character in a string", at: self.position)
            default:
                self.position += 1
            }
        }
        throw JSONError("a string without its closing quote", at: opening)
    }

    private mutating func escape() throws(JSONError) -> Unicode.Scalar {
        let start = self.position
        self.position += 1
        guard let byte = self.peek() else { throw self.unexpected("an escape") }
        self.position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            let unit = try self.hexadecimal()
            if let scalar = Unicode.Scalar(unit) { return scalar }
            // A surrogate: with its other half one scalar, alone a replacement character.
            guard (0xD800..<0xDC00).contains(unit), self.peek() == UInt8(ascii: "\\"),
                self.position + 1 < self.bytes.count, self.bytes[self.position + 1] == UInt8(ascii: "u")
            else { return "\u{FFFD}" }
            let afterHigh = self.position
            self.position += 2
            let low = try self.hexadecimal()
            guard (0xDC00..<0xE000).contains(low) else {
                self.position = afterHigh
                return "\u{FFFD}"
            }
            return Unicode.Scalar(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)) ?? "\u{FFFD}"
        default: throw JSONError("an unknown escape", at: start)
        }
    }

    private mutating func hexadecimal() throws(JSONError) -> UInt32 {
        guard self.position + 4 <= self.bytes.count else {
            throw JSONError("a \\u escape with fewer than four digits", at: self.position)
        }
        var value: UInt32 = 0
        for offset in 0..<4 {
            let byte = self.bytes[self.position + offset]
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
            default: throw JSONError("a \\u escape with a digit that is not hexadecimal", at: self.position + offset)
            }
            value = value << 4 | UInt32(digit)
        }
        self.position += 4
        return value
    }

    private func validated(_ range: Range<Int>) throws(JSONError) -> String {
        guard let text = String(validating: self.bytes[range], as: UTF8.self) else {
            throw JSONError("bytes that are not UTF-8", at: range.lowerBound)
        }
        return text
    }

    private mutating func word(_ word: StaticString, _ value: JSON) throws(JSONError) -> JSON {
        let length = word.utf8CodeUnitCount
        guard self.position + length <= self.bytes.count else { throw self.unexpected("'\(word)'") }
        for offset in 0..<length where self.bytes[self.position + offset] != word.utf8Start[offset] {
            throw self.unexpected("'\(word)'")
        }
        self.position += length
        return value
    }

    private mutating func skipDigits() -> Int {
        let start = self.position
        while let byte = self.peek(), (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { self.position += 1 }
        return self.position - start
    }

    private mutating func skipWhiteSpace() {
        while let byte = self.peek(), byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
            self.position += 1
        }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard let byte = self.peek(), byte == UInt8(ascii: character) else { return false }
        self.position += 1
        return true
    }

    private func peek() -> UInt8? {
        self.position < self.bytes.count ? self.bytes[self.position] : nil
    }

    private func unexpected(_ expected: String) -> JSONError {
        guard let byte = self.peek() else {
            return JSONError("the text ends where \(expected) was expected", at: self.position)
        }
        let found =
            (0x21..<0x7F).contains(byte) ? "'\(Character(Unicode.Scalar(byte)))'" : "byte 0x\(String(byte, radix: 16))"
        return JSONError("\(found) where \(expected) was expected", at: self.position)
    }
}
