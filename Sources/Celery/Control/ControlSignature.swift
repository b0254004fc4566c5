public import JSON

/// Which arguments a command of remote control takes, as the functions of `celery/worker/control.py` are declared, so that wrong ones get Python's answer.
public struct ControlSignature: Sendable {
    private let required: [String]
    /// `nil` where any are taken.
    private let optional: [String]?

    private init(_ required: [String] = [], optional: [String]? = nil) {
        self.required = required
        self.optional = optional
    }

    private static let commands: [String: ControlSignature] = [
        "active_queues": Self(optional: []), "enable_events": Self(optional: []), "disable_events": Self(optional: []),
        "heartbeat": Self(optional: []), "report": Self(optional: []), "autoscale": Self(optional: ["max", "min"]),
        "query_task": Self(["ids"]), "hello": Self(["from_node"]), "revoke": Self(["task_id"]),
        "terminate": Self(["signal", "task_id"]), "revoke_by_stamped_headers": Self(["headers"]),
        "rate_limit": Self(["task_name", "rate_limit"]), "election": Self(["id", "topic"]),
        "add_consumer": Self(["queue"]), "cancel_consumer": Self(["queue"]),
    ]

    /// What Python raises for a call with these arguments, as its `repr`; `nil` if they are right.
    public static func problem(_ command: String, _ arguments: JSONObject) -> String? {
        guard let signature = Self.commands[command] else { return nil }
        if let optional = signature.optional {
            for (name, _) in arguments where !signature.required.contains(name) && !optional.contains(name) {
                return Self.error("\(command)() got an unexpected keyword argument '\(name)'")
            }
        }
        let missing = signature.required.filter { arguments[$0] == nil }.map { "'\($0)'" }
        switch missing.count {
        case 0: return nil
        case 1: return Self.error("\(command)() missing 1 required positional argument: \(missing[0])")
        default:
            let names = missing.dropLast().joined(separator: ", ") + " and " + missing[missing.count - 1]
            return Self.error("\(command)() missing \(missing.count) required positional arguments: \(names)")
        }
    }

    private static func error(_ text: String) -> String { "TypeError(\(PythonRepr.string(text)))" }
}
