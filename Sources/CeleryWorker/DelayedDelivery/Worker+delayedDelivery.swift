import AMQP
import Celery
import JSON
import Logging

extension Worker {
    /// Declares what delayed messages travel by, if the project has a quorum queue (`celery/worker/consumer/delayed_delivery.py`).
    ///
    /// Celery does this for each URL of `broker_url` when its consumer starts. This worker does it for the broker that it is connected to, each time
    /// it connects: the nodes of a cluster share what is declared, and another broker of the list gets its own when the worker consumes
    /// from it.
    ///
    /// As with Celery, a broker that refuses is told of in the log and keeps no task without a delay away. It is asked over channels of their own, since a
    /// refusal closes them.
    /// - Throws: when the connection is lost.
    func prepareDelayedDelivery(on connection: AMQPConnection, _ project: Project) async throws {
        guard project.hasQuorumQueue else { return }
        let setting = project.setting("broker_native_delayed_delivery_queue_type")?.string ?? "quorum"
        guard let type = DelayedDelivery.QueueType(rawValue: setting) else {
            self.logger.error(
                """
                delayed delivery is not set up: broker_native_delayed_delivery_queue_type is \
                '\(setting)', expected 'classic' or 'quorum'
                """
            )
            return
        }
        guard try await self.declare(DelayedDelivery.levels(type), for: "the delays", on: connection) else { return }
        for queue in project.queues + project.manifest.otherQueues {
            let (bindings, direct) = DelayedDelivery.bindings(of: queue)
            for exchange in direct {
                self.logger.warning(
                    "a direct exchange has no delayed delivery: tasks with an eta are held by the worker until then",
                    metadata: [LogKeys.exchange: "\(exchange)", LogKeys.queue: "\(queue.name)"]
                )
            }
            guard !bindings.isEmpty else { continue }
            _ = try await self.declare(Topology(bindings: bindings), for: queue.name, on: connection)
        }
    }

    /// - Returns: whether the broker has done it all.
    private func declare(
        _ topology: Topology,
        for purpose: String,
        on connection: AMQPConnection
    ) async throws -> Bool {
        do {
            try await connection.withChannel { try await $0.declare(topology) }
            return true
        } catch let error as AMQPError where error.code == .channelClosedByBroker {
            self.logger.error(
                "delayed delivery is not set up",
                metadata: [LogKeys.queue: "\(purpose)", LogKeys.error: "\(error)"]
            )
            return false
        }
    }
}

extension Project {
    /// Whether any queue that the app knows is a quorum queue, consumed here or not.
    var hasQuorumQueue: Bool { (self.queues + self.manifest.otherQueues).contains(where: \.isQuorum) }
}
