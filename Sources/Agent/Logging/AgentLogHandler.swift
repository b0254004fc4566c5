import JSON
import Logging
import NIOCore

/// How log lines are written.
public enum LogFormat: String, Sendable, CaseIterable {
    /// `2026-11-23T21:00:00.123Z info message key=value key="a value"`.
    case text
    /// One JSON object per line: `time`, `level`, `logger`, `message`, then the metadata as members of their own.
    case json
}

/// The agent's log: one line per event on standard error, compact, safe against forged lines, with the passwords of
/// URLs masked.
public struct AgentLogHandler: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var logLevel: Logger.Level
    public var metadataProvider: Logger.MetadataProvider?

    private let label: String
    private let format: LogFormat
    private let sink: any LogSink
    private let now: @Sendable () -> LogTimestamp

    /// A handler for the logger named `label`, to be handed to `LoggingSystem.bootstrap`.
    public init(
        label: String,
        format: LogFormat = .text,
        level: Logger.Level = .info,
        sink: any LogSink = DescriptorLogSink.standardError
    ) {
        self.init(label: label, format: format, level: level, sink: sink, now: LogTimestamp.now)
    }

    init(
        label: String,
        format: LogFormat,
        level: Logger.Level,
        sink: any LogSink,
        now: @escaping @Sendable () -> LogTimestamp
    ) {
        self.label = label
        self.format = format
        self.logLevel = level
        self.sink = sink
        self.now = now
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var metadata = self.metadata
        if let provided = self.metadataProvider?.get() { metadata.merge(provided) { $1 } }
        if let own = event.metadata { metadata.merge(own) { $1 } }
        if let error = event.error, metadata["error"] == nil { metadata["error"] = .string("\(error)") }
        let message = Redaction.urls(in: event.message.description)
        switch self.format {
        case .text: self.sink.write(line: self.textLine(event.level, message, metadata))
        case .json: self.sink.write(line: self.jsonLine(event.level, message, metadata))
        }
    }

    private func textLine(_ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata) -> String {
        var line = "\(self.now()) \(level.rawValue) \(LogText.escaped(message, quotes: false))"
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            line += " "
            line += LogText.value(key)
            line += "="
            line += LogText.value(Redaction.urls(in: value.description))
        }
        line += "\n"
        return line
    }

    private func jsonLine(_ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata) -> String {
        var object: JSONObject = [
            "time": .string(self.now().description), "level": .string(level.rawValue), "logger": .string(self.label),
            "message": .string(message),
        ]
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            // A metadata key can't replace one of the line's own members.
            object[object[key] == nil ? key : "metadata." + key] = Self.json(value)
        }
        var line = ByteBuffer()
        JSON.object(object).write(to: &line)
        line.writeInteger(UInt8(ascii: "\n"))
        return String(buffer: line)
    }

    private static func json(_ value: Logger.MetadataValue) -> JSON {
        switch value {
        case .string(let text): .string(Redaction.urls(in: text))
        case .stringConvertible(let value): .string(Redaction.urls(in: value.description))
        case .array(let values): .array(values.map(Self.json))
        case .dictionary(let values):
            .object(JSONObject(values.sorted { $0.key < $1.key }.map { ($0.key, Self.json($0.value)) }))
        }
    }
}
