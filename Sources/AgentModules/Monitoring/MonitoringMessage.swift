import JSON
import NIOHTTP1

/// What the backend is told, with one request each.
struct MonitoringMessage: Sendable, Equatable {
    enum Status: String, Sendable {
        case success = "Success"
        case failed = "Failed"

        init(_ arguments: ModuleArguments) throws(ModuleError) {
            let text = try arguments.string("status")
            guard let status = Status(rawValue: text) else {
                throw .argument("status", found: "'\(text)'", expected: "Success or Failed")
            }
            self = status
        }
    }

    /// What follows from the status of an answer.
    enum Verdict: Sendable, Equatable {
        case delivered, again, refused

        init(_ status: HTTPResponseStatus, isRepeated: Bool) {
            switch status.code {
            case 200..<300: self = .delivered
            // The first one had arrived, although its answer had not.
            case 409 where isRepeated: self = .delivered
            case 502, 503, 504: self = .again
            default: self = .refused
            }
        }
    }

    /// Whether the same message would be refused at any later time, too.
    static func isRefusedForGood(_ status: HTTPResponseStatus) -> Bool {
        (400..<500).contains(status.code) && ![408, 425, 429].contains(status.code)
    }

    var method: HTTPMethod
    var path: String
    var body: JSON

    static func creation(_ arguments: ModuleArguments, time: String) throws(ModuleError) -> MonitoringMessage {
        MonitoringMessage(
            method: .POST,
            path: "/api/jobs/",
            body: [
                "run_uuid": try arguments.value("run_uuid"),
                "job_uuid": try arguments.value("job_uuid"),
                "job_datetime": .string(time),
                "job_associated_agent": try arguments.value("job_associated_agent"),
                "job_status": "Running",
            ]
        )
    }

    static func event(
        _ arguments: ModuleArguments,
        _ status: Status,
        uuid: String,
        time: String
    ) throws(ModuleError) -> MonitoringMessage {
        MonitoringMessage(
            method: .POST,
            path: "/api/events/",
            body: [
                "event_uuid": .string(uuid),
                "event_content": try arguments.value("content"),
                "job_uuid": try arguments.value("job_uuid"),
                "event_datetime": .string(time),
                "event_status": .string(status.rawValue),
            ]
        )
    }

    static func end(_ arguments: ModuleArguments, _ status: Status) throws(ModuleError) -> MonitoringMessage {
        MonitoringMessage(
            method: .PATCH,
            path: "/api/jobs/status",
            body: ["job_uuid": try arguments.value("job_uuid"), "job_status": .string(status.rawValue)]
        )
    }

    /// A random UUID (version 4).
    static func newUUID() -> String {
        let high = UInt64.random(in: .min ... .max) & ~0xF000 | 0x4000
        let low = UInt64.random(in: .min ... .max) & ~(0xC << 60) | 0x8 << 60
        func digits(_ value: UInt64) -> String {
            let text = String(value, radix: 16)
            return String(repeating: "0", count: 16 - text.utf8.count) + text
        }
        let (first, second) = (digits(high), digits(low))
        return
            "\(first.prefix(8))-\(first.dropFirst(8).prefix(4))-\(first.suffix(4))-\(second.prefix(4))-\(second.suffix(12))"
    }
}

extension ModuleArguments {
    /// A value of any kind, `None` too.
    fileprivate func value(_ name: String) throws(ModuleError) -> JSON {
        guard let value = self[name] else { throw .argument(name, found: "nothing", expected: "a value") }
        return value
    }
}
