/// SHA-256 (FIPS 180-4), for a few kilobytes at start-up; a library for it would be most of a megabyte.
enum SHA256 {
    /// The digest of `message` in hexadecimal.
    static func hex(_ message: [UInt8]) -> String {
        Self.digest(message).reduce(into: "") { text, word in
            let digits = String(word, radix: 16)
            text += String(repeating: "0", count: 8 - digits.utf8.count) + digits
        }
    }

    private static func digest(_ message: [UInt8]) -> [UInt32] {
        var bytes = message
        bytes.append(0x80)
        while bytes.count % 64 != 56 { bytes.append(0) }
        let length = UInt64(message.count) &* 8
        for shift in stride(from: UInt64(56), through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: length >> shift))
        }

        var state = Self.initial
        var words = [UInt32](repeating: 0, count: 64)
        for block in stride(from: 0, to: bytes.count, by: 64) {
            for index in 0..<16 {
                words[index] = (0..<4).reduce(0) { $0 << 8 | UInt32(bytes[block + index * 4 + $1]) }
            }
            for index in 16..<64 {
                let (w15, w2) = (words[index - 15], words[index - 2])
                let s0 = Self.rotated(w15, 7) ^ Self.rotated(w15, 18) ^ (w15 >> 3)
                let s1 = Self.rotated(w2, 17) ^ Self.rotated(w2, 19) ^ (w2 >> 10)
                words[index] = words[index - 16] &+ s0 &+ words[index - 7] &+ s1
            }
            Self.compress(words, into: &state)
        }
        return state
    }

    private static func compress(_ words: [UInt32], into state: inout [UInt32]) {
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        var (e, f, g, h) = (state[4], state[5], state[6], state[7])
        for index in 0..<64 {
            let s1 = Self.rotated(e, 6) ^ Self.rotated(e, 11) ^ Self.rotated(e, 25)
            let choice = (e & f) ^ (~e & g)
            let t1 = h &+ s1 &+ choice &+ Self.constants[index] &+ words[index]
            let s0 = Self.rotated(a, 2) ^ Self.rotated(a, 13) ^ Self.rotated(a, 22)
            let majority = (a & b) ^ (a & c) ^ (b & c)
            (h, g, f, e, d, c, b, a) = (g, f, e, d &+ t1, c, b, a, t1 &+ s0 &+ majority)
        }
        for (index, value) in [a, b, c, d, e, f, g, h].enumerated() { state[index] &+= value }
    }

    private static func rotated(_ value: UInt32, _ count: UInt32) -> UInt32 { value >> count | value << (32 - count) }

    /// The first 32 bits of the fractional parts of the square roots of the first 8 primes.
    private static let initial = Self.primes.prefix(8).map { Self.fraction(Double($0).squareRoot()) }

    /// Likewise of the cube roots of the first 64.
    private static let constants = Self.primes.map { Self.fraction(Self.cubeRoot(Double($0))) }

    private static let primes: [Int] = Array(
        (2...311).lazy.filter { number in !(2..<number).contains { $0 * $0 <= number && number % $0 == 0 } }
    )

    /// Newton's iteration; 32 bits of fraction and 3 before it are well within a double's 53.
    private static func cubeRoot(_ value: Double) -> Double {
        var root = value / 2
        for _ in 0..<100 { root -= (root * root * root - value) / (3 * root * root) }
        return root
    }

    private static func fraction(_ value: Double) -> UInt32 {
        UInt32(truncatingIfNeeded: UInt64(value * 4_294_967_296))
    }
}
