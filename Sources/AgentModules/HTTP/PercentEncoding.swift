/// Percent-encoding (RFC 3986, section 2.1).
enum PercentEncoding {
    /// - Returns: `nil` where the bytes are not UTF-8.
    static func decoded(_ text: Substring) -> String? {
        String(validating: Self.decodedBytes(text), as: UTF8.self)
    }

    /// A `%` without two hexadecimal digits stands for itself, as in Python's `unquote`.
    static func decodedBytes(_ text: Substring) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2, let value = Self.hexadecimal(rest.prefix(2)) {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return bytes
    }

    /// All but letters, digits and `_.-~` encoded, as by Python's `quote` with nothing that is safe.
    /// - Parameter plusForSpace: as in forms, and by Python's `quote_plus`.
    static func encoded(_ text: String, plusForSpace: Bool = false) -> String {
        var result: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"),
                UInt8(ascii: "~"):
                result.append(byte)
            case UInt8(ascii: " ") where plusForSpace: result.append(UInt8(ascii: "+"))
            default: result += [UInt8(ascii: "%"), Self.digit(byte >> 4), Self.digit(byte & 0xF)]
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10
    }

    private static func hexadecimal(_ digits: Substring.UTF8View.SubSequence) -> UInt8? {
        digits.reduce(UInt8?(0)) { value, byte in
            guard let value, let digit = byte.hexadecimalDigit else { return nil }
            return value << 4 | UInt8(digit)
        }
    }
}

extension UInt8 {
    /// The value of an ASCII digit.
    var hexadecimalDigit: Int? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(self - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): Int(self - UInt8(ascii: "a")) + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): Int(self - UInt8(ascii: "A")) + 10
        default: nil
        }
    }
}
