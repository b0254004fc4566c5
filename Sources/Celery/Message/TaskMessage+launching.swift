public import AMQP
public import NIOCore

extension TaskMessage {
    /// A message that asks for this message's task once more, as Celery's client would send it from within the task (`celery/app/base.py`, `send_task`;
    /// `celery/app/amqp.py`, `as_task_v2`).
    /// - Parameters:
    ///   - id: the new task's.
    ///   - argument: the task's one argument, as JSON text.
    ///   - representation: of the arguments, for people.
    ///   - queue: where it is to go.
    ///   - origin: who sends it.
    public func child(
        id: String,
        argument: ByteBuffer,
        representation: String,
        queue: String,
        origin: String
    ) -> Message {
        let headers: FieldTable = [
            "lang": .string("py"),
            "task": .string(self.task),
            "id": .string(id),
            "shadow": .void,
            "eta": .void,
            "expires": .void,
            "group": .void,
            "group_index": .void,
            "retries": .int32(0),
            "timelimit": .array([.void, .void]),
            "root_id": .string(self.rootID ?? self.id),
            "parent_id": .string(self.id),
            "argsrepr": .string(representation),
            "kwargsrepr": .string("{}"),
            "origin": .string(origin),
            "ignore_result": .bool(self.headers["ignore_result"]?.bool ?? false),
            "replaced_task_nesting": .int32(0),
            "stamped_headers": .void,
            "stamps": .table([:]),
        ]
        var body = ByteBuffer()
        body.writeStaticString("[[")
        body.writeImmutableBuffer(argument)
        body.writeStaticString("], {}, {\"callbacks\": null, \"errbacks\": null, \"chain\": null, \"chord\": null}]")
        return Message(
            routingKey: queue,
            properties: BasicProperties(
                contentType: "application/json",
                contentEncoding: "utf-8",
                headers: headers,
                deliveryMode: 2,
                priority: 0,
                correlationID: id,
                replyTo: ""
            ),
            body: body,
            isMandatory: true
        )
    }
}
