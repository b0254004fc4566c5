/// Text of unknown origin made fit for one line of a log.
enum LogText {
    /// `text` with everything escaped that could end a line, forge one, or steer a terminal: control characters,
    /// Unicode's line separators and its marks of direction. With `quotes`, also `"` and `\`, so that the result can
    /// stand in quotes.
    static func escaped(_ text: String, quotes: Bool) -> String {
        guard text.unicodeScalars.contains(where: { Self.needsEscape($0, quotes: quotes) }) else { return text }
        var result = ""
        result.reserveCapacity(text.utf8.count + 16)
        for scalar in text.unicodeScalars {
            guard Self.needsEscape(scalar, quotes: quotes) else {
                result.unicodeScalars.append(scalar)
                continue
            }
            switch scalar {
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            default: result += "\\u{" + String(scalar.value, radix: 16) + "}"
            }
        }
        return result
    }

    /// `text` bare if it is one plain word, otherwise quoted and escaped.
    static func value(_ text: String) -> String {
        let isPlain =
            !text.isEmpty
            && text.unicodeScalars.allSatisfy { $0 != " " && $0 != "=" && !Self.needsEscape($0, quotes: true) }
        return isPlain ? text : "\"" + Self.escaped(text, quotes: true) + "\""
    }

    private static func needsEscape(_ scalar: Unicode.Scalar, quotes: Bool) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F..<0xA0, 0x2028, 0x2029, 0x202A...0x202E, 0x2066...0x2069: true
        case 0x22, 0x5C: quotes
        default: false
        }
    }
}
