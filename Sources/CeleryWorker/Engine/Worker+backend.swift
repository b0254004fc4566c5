import AMQP
import Celery
import JSON
import NIOCore

/// What a worker's parent writes to the result backend, since no Python worker could (`celery/worker/request.py`, `celery/worker/consumer/consumer.py`).
extension Worker {
    /// - Parameters:
    ///   - type: the name of an exception of Celery's or billiard's.
    ///   - values: its arguments.
    func markFailure(_ job: Job, type: String, arguments values: [JSON]) {
        var arguments = self.description(of: job)
        arguments["exception_type"] = .string(type)
        arguments["exception_arguments"] = .array(values)
        self.callPython("backend.mark_as_failure", arguments)
    }

    /// A task that a cold shutdown, or a lost connection, has cut short is to be tried again.
    func markRetry(_ job: Job) {
        var arguments = self.description(of: job)
        arguments["exception_type"] = "Retry"
        arguments["exception_arguments"] = ["cancelled by Celery"]
        self.callPython("backend.mark_as_retry", arguments)
        self.fire("task_retry", arguments)
    }

    func markRevoked(_ job: Job, reason: String) {
        var arguments = self.description(of: job)
        arguments["reason"] = .string(reason)
        self.callPython("backend.mark_as_revoked", arguments)
    }

    /// The task is not registered, so nothing is known of it but its message.
    func markUnregistered(_ delivery: Delivery, id: String, task: String) {
        guard !id.isEmpty else { return }
        self.callPython(
            "backend.mark_as_failure",
            [
                "id": .string(id),
                "headers": JSON(delivery.properties.headers ?? FieldTable()),
                "info": self.info(delivery.properties, TaskMessage.DeliveryInfo(delivery, queue: "")),
                "exception_type": "NotRegistered",
                "exception_arguments": [.string(task)],
            ]
        )
    }

    func description(of job: Job) -> JSONObject {
        let message = job.message
        // What the client says goes before what the task says (`Request.__init__`).
        let ignoresResult = message.headers["ignore_result"]?.bool ?? job.options.ignoreResult
        return [
            "id": .string(message.id),
            "headers": JSON(message.headers),
            "info": self.info(message.properties, message.deliveryInfo),
            "body": .string(message.body.base64),
            "content_type": JSON(message.properties.contentType),
            "content_encoding": JSON(message.properties.contentEncoding),
            "compression": JSON(message.headers["compression"]?.string),
            "store_result": .bool(!ignoresResult || job.options.storeErrorsEvenIfIgnored),
        ]
    }

    private func info(_ properties: BasicProperties, _ delivery: TaskMessage.DeliveryInfo) -> JSON {
        [
            "delivery_info": delivery.shown,
            "reply_to": JSON(properties.replyTo),
            "correlation_id": JSON(properties.correlationID),
            "hostname": .string(self.nodeName),
        ]
    }
}
