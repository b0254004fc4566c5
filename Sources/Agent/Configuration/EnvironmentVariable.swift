/// An environment variable with its type, its default and its documentation: the one source of what is read and of
/// what the README says.
struct EnvironmentVariable<Value: Sendable>: Sendable {
    let name: String
    let defaultValue: Value
    /// The default as the README's table shows it, in Markdown.
    let shownDefault: String
    let meaning: String
    let format: ValueFormat<Value>
    /// Whether the value is a secret, never to be shown.
    let isSecret: Bool
    let isRequired: Bool

    init(
        _ name: String,
        _ format: ValueFormat<Value>,
        default defaultValue: Value,
        shown: String,
        isSecret: Bool = false,
        isRequired: Bool = false,
        _ meaning: String
    ) {
        self.name = name
        self.defaultValue = defaultValue
        self.shownDefault = shown
        self.meaning = meaning
        self.format = format
        self.isSecret = isSecret
        self.isRequired = isRequired
    }

    var row: EnvironmentVariableRow {
        EnvironmentVariableRow(
            name: self.name,
            shownDefault: self.shownDefault,
            meaning: self.meaning,
            isSecret: self.isSecret
        )
    }
}

/// What the README's table shows of a variable.
struct EnvironmentVariableRow: Sendable {
    var name: String
    var shownDefault: String
    var meaning: String
    var isSecret: Bool
}

/// How a variable's text becomes a value.
struct ValueFormat<Value: Sendable>: Sendable {
    /// What is expected, for error messages: "a number from 1 to 65535".
    let expected: String
    /// The value, or `nil` if the text is not one.
    let parse: @Sendable (String) -> Value?

    /// The same format for a variable that may be unset.
    var optional: ValueFormat<Value?> {
        ValueFormat<Value?>(expected: self.expected) { text in self.parse(text).map { .some($0) } }
    }
}

extension ValueFormat where Value == String {
    /// Any text without control characters.
    static var text: Self {
        Self(expected: "text on one line") { text in
            text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F } ? text : nil
        }
    }

    /// Any text at all; what it holds is checked where it's used.
    static var anything: Self { Self(expected: "text") { $0 } }

    /// A name or number that may be part of queue names, node names and keys.
    static var identifier: Self {
        Self(expected: "an identifier of at most 200 characters without spaces or control characters") { text in
            // AMQP's names have at most 255 bytes, and Celery makes longer ones of this one.
            text.utf8.count <= 200 && text.unicodeScalars.allSatisfy { $0.value > 0x20 && $0.value != 0x7F }
                ? text : nil
        }
    }

    /// A whole number kept as its text, in the one way of writing it.
    static var index: Self {
        Self(expected: "a whole number, 0 or more, without sign or leading zeros") { text in
            UInt32(text).flatMap { String($0) == text ? text : nil }
        }
    }

    /// A host name or address without port.
    static var host: Self {
        Self(expected: "a host name or an IP address, without scheme and port") { text in
            let isName = text.unicodeScalars.allSatisfy { scalar in
                scalar.isASCII
                    && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)
                        || "-._:%".unicodeScalars.contains(scalar))
            }
            let colons = text.utf8.count { $0 == UInt8(ascii: ":") }
            return isName && colons != 1 ? text : nil
        }
    }

    /// A URL with one of `schemes` and something behind it.
    static func url(_ schemes: [String]) -> Self {
        Self(expected: "a URL that begins with " + schemes.map { $0 + "://" }.joined(separator: " or ")) { text in
            Self.isURL(text[...], schemes) ? text : nil
        }
    }

    /// URLs with one of `schemes`, separated by semicolons.
    static func urlList(_ schemes: [String]) -> Self {
        let names = schemes.map { $0 + "://" }.joined(separator: " or ")
        return Self(expected: "one or more URLs that begin with \(names), separated by semicolons") { text in
            text.split(separator: ";", omittingEmptySubsequences: false).allSatisfy { Self.isURL($0, schemes) }
                ? text : nil
        }
    }

    private static func isURL(_ text: Substring, _ schemes: [String]) -> Bool {
        guard text.unicodeScalars.allSatisfy({ $0.value > 0x20 && $0.value != 0x7F }) else { return false }
        let lowercased = text.lowercased()
        return schemes.contains { lowercased.hasPrefix($0 + "://") && lowercased.utf8.count > $0.utf8.count + 3 }
    }
}

extension ValueFormat where Value == Int {
    static func number(_ range: ClosedRange<Int>) -> Self {
        Self(expected: "a whole number from \(range.lowerBound) to \(range.upperBound)") { text in
            guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
            return Int(text).flatMap { range.contains($0) ? $0 : nil }
        }
    }
}

extension ValueFormat where Value == Duration {
    /// Seconds, fractions allowed.
    static func seconds(_ range: ClosedRange<Double>) -> Self {
        let bounds = "from \(Self.shown(range.lowerBound)) to \(Self.shown(range.upperBound))"
        return Self(expected: "a number of seconds \(bounds)") { text in
            guard
                text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: ".") }
                ),
                let seconds = Double(text), range.contains(seconds)
            else { return nil }
            return .milliseconds(Int64((seconds * 1000).rounded()))
        }
    }

    private static func shown(_ seconds: Double) -> String {
        seconds == seconds.rounded() ? String(Int64(seconds)) : String(seconds)
    }
}

extension Duration {
    /// In seconds, with their fraction.
    var inSeconds: Double {
        Double(self.components.seconds) + Double(self.components.attoseconds) / 1_000_000_000_000_000_000
    }
}

extension ValueFormat where Value == Bool {
    static var boolean: Self {
        Self(expected: "1, true, yes or on, or 0, false, no or off") { text in
            switch text.lowercased() {
            case "1", "true", "yes", "on": true
            case "0", "false", "no", "off": false
            default: nil
            }
        }
    }
}

extension ValueFormat where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    static var choice: Self {
        let names = Value.allCases.map(\.rawValue)
        return Self(expected: "one of " + names.joined(separator: ", ")) { Value(rawValue: $0.lowercased()) }
    }
}
