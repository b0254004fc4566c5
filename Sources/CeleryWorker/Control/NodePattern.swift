import Glibc

/// Which nodes a request is for, where it names them by a pattern (`kombu/matcher.py`).
struct NodePattern: Sendable {
    var pattern: String
    /// `glob` or `pcre`, which Python's `re.match` reads.
    var matcher: String

    func matches(_ nodeName: String) -> Bool {
        switch self.matcher {
        case "glob": fnmatch(self.pattern, nodeName, 0) == 0
        case "pcre": self.regularExpressionMatches(nodeName)
        default: false
        }
    }

    /// POSIX extended expressions, which agree with Python's in all that names of nodes need; anchored at the start, as `re.match` is.
    private func regularExpressionMatches(_ nodeName: String) -> Bool {
        var expression = regex_t()
        guard regcomp(&expression, "^(\(self.pattern))", REG_EXTENDED | REG_NOSUB) == 0 else { return false }
        defer { regfree(&expression) }
        return regexec(&expression, nodeName, 0, nil, 0) == 0
    }
}
