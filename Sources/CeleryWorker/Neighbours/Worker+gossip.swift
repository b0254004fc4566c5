import AMQP
import Celery
import Glibc
import JSON
import Logging

extension Worker {
    /// How often it is looked who has fallen silent.
    private static let gossipInterval = Duration.seconds(5)

    /// Begins to listen to the neighbours' events (not unless `--with-gossip`), for as long as the connection lasts.
    ///
    /// To be called before remote control is listened to, so that no election is missed; over a channel of its own, since what the broker refuses here
    /// is to harm no job.
    /// - Throws: when the connection is lost.
    func startGossip(over connection: AMQPConnection, _ project: Project) async throws {
        guard self.configuration.gossips, self.gossipEpoch != connection.epoch else { return }
        let channel = try await connection.openChannel()
        do {
            try await self.listenToNeighbours(project, on: channel)
        } catch let error as AMQPError where error.code == .channelClosedByBroker {
            return self.gossipRefused(error)
        }
        self.gossipEpoch = connection.epoch
        self.background { await $0.watchNeighbours(connection, channel) }
    }

    private func watchNeighbours(_ connection: AMQPConnection, _ channel: AMQPChannel) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                do {
                    try await channel.closed()
                } catch let error as AMQPError where error.code == .channelClosedByBroker {
                    await self.gossipRefused(error)
                } catch {
                    // With its connection, or with this worker.
                }
            }
            group.addTask {
                while (try? await Task.sleep(for: Self.gossipInterval)) != nil { await self.gossipTick() }
            }
            await group.next()
            group.cancelAll()
        }
        if self.gossipEpoch == connection.epoch { self.gossipEpoch = nil }
    }

    private func gossipRefused(_ error: AMQPError) {
        self.logger.error("neighbours' events can't be listened to", metadata: [LogKeys.error: "\(error)"])
    }

    private func listenToNeighbours(_ project: Project, on channel: AMQPChannel) async throws {
        let queue = Self.gossipQueue(project, interval: self.configuration.heartbeatInterval)
        try await channel.declare(
            Topology(
                exchanges: [ExchangeDeclaration(name: project.eventExchange, type: "topic")],
                queues: [queue],
                bindings: [
                    BindingDeclaration(
                        destination: .queue(queue.name),
                        source: project.eventExchange,
                        routingKey: "worker.#"
                    )
                ]
            )
        )
        _ = try await channel.consume(
            queue: queue.name,
            noAck: true,
            onEvent: { event in
                guard case .delivery(let delivery) = event else { return }
                self.assumeIsolated { $0.gossipReceived(delivery) }
            }
        )
    }

    /// (`celery/events/receiver.py`, `EventReceiver.__init__`)
    private static func gossipQueue(_ project: Project, interval: Double?) -> QueueDeclaration {
        let isDurable = project.setting("event_queue_durable")?.bool ?? false
        var arguments = FieldTable()
        if let expires = project.setting("event_queue_expires")?.double {
            arguments.append("x-expires", FieldValue(.int(Int64(expires * 1000))))
        }
        if let ttl = interval ?? project.setting("event_queue_ttl")?.double {
            arguments.append("x-message-ttl", FieldValue(.int(Int64(ttl * 1000))))
        }
        return QueueDeclaration(
            name: "\(project.setting("event_queue_prefix")?.string ?? "celeryev").\(UniqueName.make())",
            durable: isDurable,
            exclusive: project.setting("event_queue_exclusive")?.bool ?? false,
            autoDelete: !isDurable,
            arguments: arguments
        )
    }

    private func gossipReceived(_ delivery: Delivery) {
        do throws(GossipEvent.Problem) {
            let event = try GossipEvent(
                routingKey: delivery.routingKey,
                sender: delivery.properties.headers?["hostname"]?.string,
                body: delivery.body
            )
            self.perform(self.neighbourhood.received(event, now: Self.monotonicClock()))
        } catch {
            self.logger.error("received an event that can't be read", metadata: [LogKeys.error: "\(error)"])
        }
    }

    private func gossipTick() {
        self.perform(self.neighbourhood.tick(now: Self.monotonicClock()))
    }

    private func perform(_ actions: [Gossip.Action]) {
        for action in actions {
            switch action {
            case .adjustClock(to: let clock?): self.clock.adjust(to: clock)
            case .adjustClock(to: nil): self.clock.forward()
            case .joined(let node): self.logger.debug("a neighbour joined", metadata: [LogKeys.node: "\(node)"])
            case .left(let node): self.logger.debug("a neighbour left", metadata: [LogKeys.node: "\(node)"])
            case .missedHeartbeat(let node):
                self.logger.info("missed a neighbour's heartbeat", metadata: [LogKeys.node: "\(node)"])
            case .acknowledge(let id): self.background { await $0.acknowledge(id) }
            case .won(let candidate, let id): self.act(as: candidate, election: id)
            case .elected(let process, let id):
                self.logger.info(
                    "another node won an election",
                    metadata: [LogKeys.node: "\(process)", LogKeys.election: "\(id)"]
                )
            }
        }
    }

    // MARK: Elections

    /// The command `election`: who of all workers is to do something? Without gossip this one takes no part.
    func hold(_ arguments: JSONObject) -> ControlAnswer {
        guard self.configuration.gossips, let id = arguments["id"]?.string, let topic = arguments["topic"]?.string
        else {
            return .reply(.null)
        }
        self.neighbourhood.hold(id, now: Self.monotonicClock())
        self.publish(.workerElect) { event in
            event.add("id", id)
            event.add("topic", topic)
            event.add("action", arguments["action"] ?? .null)
            event.add("cver", 1)
        }
        return .reply(.null)
    }

    /// How long a candidate is unanswered. A stock worker ends with an exception if the first acknowledgement reaches it before its own candidacy has, which takes
    /// it longer than this worker needs for both.
    private static let acknowledgementDelay = Duration.seconds(1)

    private func acknowledge(_ election: String) async {
        guard (try? await Task.sleep(for: Self.acknowledgementDelay)) != nil else { return }
        self.publish(.workerElectAck) { $0.add("id", election) }
    }

    private func act(as candidate: Gossip.Candidate, election: String) {
        self.logger.info("won an election", metadata: [LogKeys.election: "\(election)"])
        guard candidate.topic == "task" else {
            self.logger.error(
                "an election's topic is unknown, expected 'task'",
                metadata: [LogKeys.election: "\(election)", LogKeys.reason: "\(candidate.topic)"]
            )
            return
        }
        self.callPython("backend.call_task", ["task": candidate.action])
    }

    private func publish(_ type: EventType, fields: (inout EventFields) -> Void) {
        self.publish(
            self.events.worker(type, clock: self.clock.forward(), timestamp: self.wallClock(), fields: fields)
        )
    }
}
