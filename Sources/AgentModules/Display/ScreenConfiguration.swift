import JSON

/// What `config_screen` asks for. Members that are not known here are the project's own.
struct ScreenConfiguration: Sendable, Equatable {
    /// The screen that is there, instead of one of our own.
    var isVisible = false
    var width = 1920
    var height = 1080
    /// In bits per pixel.
    var depth = 24

    /// X counts pixels in 16 bits with a sign.
    private static let lengths = 1...32767
    /// Those that Xvfb has.
    private static let depths = [8, 15, 16, 24, 30]

    /// - Throws: an error of the kind `argument`, with the name that was found.
    init(_ members: JSONObject) throws(ModuleError) {
        for name in ["screen_size", "size"] {
            guard let value = members[name], !value.isNull else { continue }
            (self.width, self.height) = try Self.size(value, name)
            break
        }
        if let width = try Self.length(["screen_width", "width"], members) { self.width = width }
        if let height = try Self.length(["screen_height", "height"], members) { self.height = height }
        if let (name, value) = Self.first(["screen_depth", "depth"], members) {
            guard let depth = value.int, Self.depths.contains(depth) else {
                throw Self.wrong(name, value, expected: "8, 15, 16, 24 or 30 bits; leave it out for 24")
            }
            self.depth = depth
        }
        if let (name, value) = Self.first(["screen_visible"], members) {
            switch value {
            case .bool(let flag): self.isVisible = flag
            case .int(0), .int(1): self.isVisible = value == .int(1)
            default: throw Self.wrong(name, value, expected: "true or false")
            }
        }
    }

    /// The member of one of these names; `null` is as good as none.
    private static func first(_ names: [String], _ members: JSONObject) -> (String, JSON)? {
        for name in names {
            if let value = members[name], !value.isNull { return (name, value) }
        }
        return nil
    }

    private static func length(_ names: [String], _ members: JSONObject) throws(ModuleError) -> Int? {
        guard let (name, value) = self.first(names, members) else { return nil }
        guard let length = value.int, self.lengths.contains(length) else {
            throw self.wrong(name, value, expected: "a number of pixels from 1 to 32767")
        }
        return length
    }

    /// `"1920x1080"` or `[1920, 1080]`.
    private static func size(_ value: JSON, _ name: String) throws(ModuleError) -> (width: Int, height: Int) {
        let numbers: [Int?] =
            if let text = value.string {
                text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
            } else {
                (value.array ?? []).map(\.int)
            }
        guard numbers.count == 2, let width = numbers[0], let height = numbers[1], self.lengths.contains(width),
            self.lengths.contains(height)
        else { throw self.wrong(name, value, expected: "\"1920x1080\" or [1920, 1080], each from 1 to 32767") }
        return (width, height)
    }

    private static func wrong(_ name: String, _ value: JSON, expected: String) -> ModuleError {
        let found =
            switch value {
            case .int(let number): "\(number)"
            case .double(let number): "\(number)"
            case .bigInteger(let digits): String(digits.prefix(40))
            case .string(let text): "\"\(text.prefix(40))\""
            default: value.kind
            }
        return .argument("config_screen: \(name)", found: found, expected: expected)
    }
}
