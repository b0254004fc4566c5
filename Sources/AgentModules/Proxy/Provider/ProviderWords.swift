import JSON
import NIOCore

/// Why the provider has no proxy, in its own words, without what may be credentials.
struct ProviderWords {
    /// On one line.
    let text: String

    private static let limit = 500
    private static let names = ["error", "message", "detail", "reason"]

    init(_ body: ByteBuffer) {
        let size = body.readableBytes
        guard size > 0 else {
            self.text = "(an empty body)"
            return
        }
        // Of an object only what is meant for people is shown: the rest may be a proxy's user and password.
        var words = [String(decoding: body.readableBytesView.prefix(Self.limit * 2), as: UTF8.self)]
        if let json = try? JSON(parsing: body) {
            words =
                json.object.map { object in Self.names.compactMap { object[$0]?.string } }
                ?? [json.string].compactMap(\.self)
        }
        words = words.filter { !Self.mayHoldCredentials($0) }
        let line = words.joined(separator: "; ").split(whereSeparator: \.isWhitespace).joined(separator: " ")
        self.text =
            line.isEmpty
            ? "(\(size) bytes that are not shown, since they may hold credentials)" : String(line.prefix(Self.limit))
    }

    private static func mayHoldCredentials(_ text: String) -> Bool {
        let lowercased = text.lowercased()
        return ["@", "://", "pass", "secret", "token", "credential", "auth"].contains { lowercased.contains($0) }
    }
}
