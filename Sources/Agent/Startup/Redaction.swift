/// Takes secrets out of text that may be shown.
public enum Redaction {
    /// What stands in the place of a secret.
    public static let mark = "***"

    private static let secretParameters: Set<String> = [
        "access_token", "api_key", "apikey", "auth", "key", "pass", "passwd", "password", "secret", "sig", "signature",
        "token",
    ]

    /// `text` with the user and password of every URL in it replaced by ``mark``, and the values of query parameters
    /// whose names tell of a secret.
    ///
    /// The whole user part goes, since package indexes take tokens as user names. An unescaped `/` or `@` in a
    /// password, wrong but common, is covered as well.
    public static func urls(in text: String) -> String {
        let bytes = Array(text.utf8)
        guard let first = Self.schemeEnd(in: bytes, from: 0) else { return text }
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var copied = 0
        var next: Int? = first
        while let start = next {
            var end = start
            while end < bytes.count, !Self.endsURL(bytes[end]) { end += 1 }
            result.append(contentsOf: bytes[copied..<start])
            Self.appendRedacted(bytes[start..<end], to: &result)
            copied = end
            next = Self.schemeEnd(in: bytes, from: end)
        }
        result.append(contentsOf: bytes[copied...])
        return String(decoding: result, as: UTF8.self)
    }

    /// A value as a message may quote it: URLs redacted, control characters escaped, cut after 80 characters.
    static func quoted(_ value: String) -> String {
        let shown = Self.urls(in: value)
        // Malformed as it is, it may hold a password where no rule finds it.
        if shown == value, value.utf8.contains(UInt8(ascii: "@")) { return "a value that is not shown" }
        let cut = shown.count > 80 ? shown.prefix(80) + "…" : shown[...]
        return "\"" + LogText.escaped(String(cut), quotes: true) + "\""
    }

    /// The passwords in the URLs of `text`, as written and percent-decoded, to be masked where another program
    /// repeats them.
    static func secrets(in text: String) -> [String] {
        let bytes = Array(text.utf8)
        var found: [String] = []
        var next = Self.schemeEnd(in: bytes, from: 0)
        while let start = next {
            var end = start
            while end < bytes.count, !Self.endsURL(bytes[end]) { end += 1 }
            if let user = Self.userInfo(of: bytes[start..<end]) {
                let parts = bytes[user].split(separator: UInt8(ascii: ":"), maxSplits: 1)
                // A user alone is a token; beside a password it's a name, too short or common to be masked everywhere.
                if let secret = parts.last {
                    let text = String(decoding: secret, as: UTF8.self)
                    found.append(text)
                    let decoded = Self.percentDecoded(secret)
                    if decoded != text { found.append(decoded) }
                }
            }
            next = Self.schemeEnd(in: bytes, from: end)
        }
        return found
    }

    private static func appendRedacted(_ url: ArraySlice<UInt8>, to result: inout [UInt8]) {
        var rest = url
        if let user = Self.userInfo(of: url) {
            result.append(contentsOf: Self.mark.utf8)
            rest = url[user.upperBound...]
        }
        guard let query = rest.firstIndex(of: UInt8(ascii: "?")) else {
            result.append(contentsOf: rest)
            return
        }
        result.append(contentsOf: rest[...query])
        var isFirst = true
        for parameter in rest[(query + 1)...].split(separator: UInt8(ascii: "&"), omittingEmptySubsequences: false) {
            if !isFirst { result.append(UInt8(ascii: "&")) }
            isFirst = false
            guard let equals = parameter.firstIndex(of: UInt8(ascii: "=")) else {
                result.append(contentsOf: parameter)
                continue
            }
            let name = String(decoding: parameter[..<equals], as: UTF8.self).lowercased()
            if Self.secretParameters.contains(name) {
                result.append(contentsOf: parameter[...equals])
                result.append(contentsOf: Self.mark.utf8)
            } else {
                result.append(contentsOf: parameter)
            }
        }
    }

    /// The indices of the user part, up to its `@`, in what follows `://`.
    private static func userInfo(of url: ArraySlice<UInt8>) -> Range<Int>? {
        let at = UInt8(ascii: "@")
        let authorityEnd =
            url.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }
            ?? url.endIndex
        if let end = url[..<authorityEnd].lastIndex(of: at) { return url.startIndex..<end }
        // `host:digits` is a port; anything else behind the colon is a password that holds a slash.
        guard let end = url.lastIndex(of: at), url.first != UInt8(ascii: "["),
            let colon = url[..<authorityEnd].firstIndex(of: UInt8(ascii: ":")),
            !url[(colon + 1)..<authorityEnd].allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return nil }
        return url.startIndex..<end
    }

    /// The index behind the next `://` that follows a scheme.
    private static func schemeEnd(in bytes: [UInt8], from start: Int) -> Int? {
        var index = max(start, 1)
        while index + 2 < bytes.count {
            if bytes[index] == UInt8(ascii: ":"), bytes[index + 1] == UInt8(ascii: "/"),
                bytes[index + 2] == UInt8(ascii: "/")
            {
                return index + 3
            }
            index += 1
        }
        return nil
    }

    private static func endsURL(_ byte: UInt8) -> Bool {
        byte <= 0x20 || byte == 0x7F || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "<")
            || byte == UInt8(ascii: ">") || byte == UInt8(ascii: ";")
    }

    private static func percentDecoded(_ bytes: ArraySlice<UInt8>) -> String {
        var result: [UInt8] = []
        var index = bytes.startIndex
        while index < bytes.endIndex {
            if bytes[index] == UInt8(ascii: "%"), bytes.endIndex - index > 2,
                let value = UInt8(String(decoding: bytes[(index + 1)...(index + 2)], as: UTF8.self), radix: 16)
            {
                result.append(value)
                index += 3
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

/// Known secrets, masked wherever they appear in another program's output.
struct SecretMask: Sendable {
    /// Longest first, so that a secret within another can't leave half of it.
    private let secrets: [String]

    /// Secrets of fewer than 4 characters are left out: masking them would eat the text, and they protect nothing.
    init(_ secrets: some Sequence<String>) {
        self.secrets = Set(secrets.filter { $0.count >= 4 }).sorted { $0.count > $1.count }
    }

    func callAsFunction(_ text: String) -> String {
        var result = text
        for secret in self.secrets where result.contains(secret) {
            result = Self.replacing(secret, in: result)
        }
        return Redaction.urls(in: result)
    }

    private static func replacing(_ secret: String, in text: String) -> String {
        let bytes = Array(text.utf8)
        let pattern = Array(secret.utf8)
        var result: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if bytes.count - index >= pattern.count, bytes[index..<(index + pattern.count)].elementsEqual(pattern) {
                result.append(contentsOf: Redaction.mark.utf8)
                index += pattern.count
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
