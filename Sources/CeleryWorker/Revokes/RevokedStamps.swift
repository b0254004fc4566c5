import AMQP
import Celery
import JSON

/// Tasks that are revoked by their stamps, headers that a sender's stamping visitor adds (`celery/worker/request.py`, `Request.revoked`;
/// `celery/worker/control.py`, `revoke_by_stamped_headers`).
struct RevokedStamps: Sendable {
    /// The most values that are remembered for a header; the oldest go first.
    static let limit = 50_000

    private var values: [String: [JSON]] = [:]

    var isEmpty: Bool { self.values.isEmpty }

    /// - Parameter headers: a header's name with its value, or a list of its values.
    mutating func insert(_ headers: JSONObject) {
        for (header, value) in headers {
            var known = self.values[header] ?? []
            for value in value.array ?? [value] where !known.contains(value) { known.append(value) }
            self.values[header] = known.suffix(Self.limit)
        }
    }

    /// The stamp by which a message is revoked.
    func match(_ message: TaskMessage) -> (header: String, value: JSON)? {
        guard !self.isEmpty else { return nil }
        return Self.match(self.values, message)
    }

    /// The stamp that a message has in common with `headers`.
    static func match(_ headers: [String: [JSON]], _ message: TaskMessage) -> (header: String, value: JSON)? {
        for (header, stamps) in message.stamps {
            guard let revoked = headers[header] else { continue }
            for stamp in stamps where revoked.contains(stamp) { return (header, stamp) }
        }
        return nil
    }
}

extension TaskMessage {
    /// The stamps that its `stamped_headers` name, each with its values.
    var stamps: [(header: String, values: [JSON])] {
        guard case .array(let names)? = self.headers["stamped_headers"],
            case .table(let table)? = self.headers["stamps"]
        else { return [] }
        var stamps: [(String, [JSON])] = []
        names.forEachValue { name in
            guard let name = name.string, let value = table[name] else { return }
            let json = JSON(value)
            stamps.append((name, json.array ?? [json]))
        }
        return stamps
    }
}
