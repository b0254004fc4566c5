/// How many tasks of one kind may be started in a time, as projects and `celery control rate_limit` write it: `10`, `"10/s"`, `"100/m"`, `"5.5/h"`
/// (`celery/utils/time.py`, `rate`).
struct RateLimit: Sendable, Equatable {
    /// Tasks a second, above 0.
    var perSecond: Double

    /// - Returns: `nil` for no limit: none, 0, or nothing.
    /// - Throws: ``RateLimitError`` for text that is no rate.
    init?(_ text: String?) throws(RateLimitError) {
        guard let text, !text.isEmpty, text != "None" else { return nil }
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let number = Double(parts[0].trimmingSpaces), number.isFinite else {
            throw RateLimitError(text: text, isNumber: false)
        }
        let seconds: Double
        switch parts.count > 1 ? parts[1].trimmingSpaces : "s" {
        case "s", "": seconds = 1
        case "m": seconds = 60
        case "h": seconds = 3600
        default: throw RateLimitError(text: text, isNumber: true)
        }
        guard number > 0 else { return nil }
        self.perSecond = number / seconds
    }
}

/// Text that is no rate limit.
struct RateLimitError: Error, Sendable, Equatable, CustomStringConvertible {
    var text: String
    /// Whether its number was understood, so that it is the unit that was not.
    var isNumber: Bool

    var description: String {
        "rate limit '\(self.text)': expected a number of tasks, with /s, /m or /h for other than each second"
    }
}

extension Substring {
    fileprivate var trimmingSpaces: Substring {
        var text = self.drop { $0 == " " }
        while text.last == " " { text.removeLast() }
        return text
    }
}
