import JSON
import NIOCore

/// What one node answers to `hello` (`celery/worker/control.py`, `hello`).
struct HelloReply: Sendable, Equatable {
    var node: String
    /// Its logical clock.
    var clock: Int64?
    /// The tasks that it knows to be revoked, in either form.
    var revoked: JSON?

    /// Reads a reply's body: by each node's name what it answers, nothing where it was asked by itself.
    static func list(_ body: ByteBuffer) throws(JSONError) -> [HelloReply] {
        let replies = try JSON(parsing: body).object ?? [:]
        return replies.compactMap { node, value in
            guard value.object != nil else { return nil }
            return HelloReply(node: node, clock: value["clock"]?.int.map(Int64.init), revoked: value["revoked"])
        }
    }
}
