/// Base64 (RFC 4648, section 4), for HTTP's basic authentication.
enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encoded(_ bytes: some Sequence<UInt8>) -> String {
        var result: [UInt8] = []
        var bits: UInt32 = 0
        var count = 0
        func write(_ digits: Int) {
            for digit in 0..<digits { result.append(Self.alphabet[Int(bits >> UInt32(18 - 6 * digit)) & 63]) }
        }
        for byte in bytes {
            bits |= UInt32(byte) << UInt32(16 - 8 * count)
            count += 1
            guard count == 3 else { continue }
            write(4)
            bits = 0
            count = 0
        }
        if count > 0 {
            write(count + 1)
            result.append(contentsOf: repeatElement(UInt8(ascii: "="), count: 3 - count))
        }
        return String(decoding: result, as: UTF8.self)
    }
}
