/// Base64 as RFC 4648, section 4 has it, strictly, except that line breaks are skipped: the `base64` command puts
/// them in.
enum Base64 {
    /// What is wrong with a text; quotes nothing of it but a single character.
    struct Problem: Error, Equatable, CustomStringConvertible {
        var description: String
    }

    static func decode(_ text: String) throws(Problem) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.utf8.count / 4 * 3)
        var bits: UInt32 = 0
        var digits = 0
        var padding = 0
        for (position, byte) in text.utf8.enumerated() {
            if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") { continue }
            if byte == UInt8(ascii: "=") {
                padding += 1
                continue
            }
            guard let value = Self.value(of: byte) else {
                let character = (0x21..<0x7F).contains(byte) ? "'\(Character(Unicode.Scalar(byte)))'" : "byte \(byte)"
                throw Problem(description: "\(character) at position \(position + 1) is not of base64")
            }
            guard padding == 0 else { throw Problem(description: "more follows the '=' that ends base64") }
            bits = bits << 6 | UInt32(value)
            digits += 1
            if digits % 4 == 0 {
                result.append(UInt8(truncatingIfNeeded: bits >> 16))
                result.append(UInt8(truncatingIfNeeded: bits >> 8))
                result.append(UInt8(truncatingIfNeeded: bits))
            }
        }
        // Of what is left over, the bits beyond the last byte must be zero.
        switch (digits % 4, padding) {
        case (0, 0):
            return result
        case (2, 2) where bits & 0xF == 0:
            result.append(UInt8(truncatingIfNeeded: bits >> 4))
            return result
        case (3, 1) where bits & 0x3 == 0:
            result.append(UInt8(truncatingIfNeeded: bits >> 10))
            result.append(UInt8(truncatingIfNeeded: bits >> 2))
            return result
        case (2, 2), (3, 1):
            throw Problem(description: "its last digit holds bits that belong to no byte")
        default:
            throw Problem(
                description: "\(digits) digits and \(padding) '=' make no whole number of bytes; is it cut off?"
            )
        }
    }

    private static func value(of byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
