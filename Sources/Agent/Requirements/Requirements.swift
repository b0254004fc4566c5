/// The text of a requirements file.
struct Requirements: Equatable {
    var bytes: [UInt8]
    private let text: String

    /// - Parameter base64: the value of `REQUIREMENTS_TXT`.
    init(base64: String) throws(RequirementsError) {
        do throws(Base64.Problem) {
            self.bytes = try Base64.decode(base64)
        } catch {
            throw .notReadable(found: error.description)
        }
        guard let text = String(validating: self.bytes, as: UTF8.self) else {
            throw .notReadable(found: "base64 of bytes that are not UTF-8")
        }
        guard !self.bytes.contains(0) else { throw .notReadable(found: "base64 of text with a zero byte") }
        self.text = text
    }

    /// Lines that ask for something: neither blank nor comments.
    private var lines: [Substring] {
        self.text.split(whereSeparator: \.isNewline).compactMap { line in
            let trimmed = line.drop { $0 == " " || $0 == "\t" || $0 == "\u{FEFF}" }
            return trimmed.isEmpty || trimmed.hasPrefix("#") ? nil : trimmed
        }
    }

    var isEmpty: Bool { self.lines.isEmpty }

    /// Whether it names files or folders of this machine to be installed or read, so that its text alone doesn't tell
    /// what it asks for.
    var dependsOnLocalFiles: Bool {
        self.lines.contains { line in
            let isOption = ["-r", "-c", "-e", "--requirement", "--constraint", "--editable"].contains {
                line.hasPrefix($0)
            }
            let isPath = line.hasPrefix(".") || line.hasPrefix("/") || line.contains("@ /") || line.contains("@ .")
            return isOption || isPath || line.contains("file:")
        }
    }

    /// What must not be shown when an installer repeats it: passwords of URLs, also those that come from the
    /// environment.
    func secrets(environment: [String: String]) -> [String] {
        var found = Redaction.secrets(in: self.text)
        for (name, value) in environment {
            if self.text.contains("${\(name)}") {
                found.append(value)
            } else if name.hasPrefix("PIP_") || name.hasPrefix("UV_") {
                found += Redaction.secrets(in: value)
                if name.hasSuffix("_PASSWORD") { found.append(value) }
            }
        }
        return found
    }
}
