import AMQP
import Celery
import JSON
import Logging
import NIOCore
import PythonPool

extension Worker {
    private enum Step {
        case poolEnded
        case loaded
        case consumed
    }

    /// Reaches the broker and loads the project at the same time, then consumes until the worker is asked to stop.
    func serve(loading load: @escaping @Sendable (PythonPool) async throws -> Manifest) async throws {
        let pool = self.pool
        try await withThrowingTaskGroup(of: Step.self) { group in
            group.addTask {
                try await pool.run()
                return .poolEnded
            }
            group.addTask {
                try await self.projectLoaded(try await load(pool))
                return .loaded
            }
            group.addTask {
                try await self.consumeUntilShutdown()
                return .consumed
            }
            defer { group.cancelAll() }
            while let step = try await group.next(), step != .consumed {}
            await self.stopPool()
        }
    }

    private func consumeUntilShutdown() async throws {
        guard let broker = try await self.broker() else { return }
        let client = AMQPClient(
            configurations: broker.connections(purpose: "consumer"),
            policy: broker.recovery,
            eventLoop: self.eventLoop,
            logger: self.logger
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await client.run { connection in try await self.consume(on: connection) } }
            // Without a session there is nothing to end in order.
            group.addTask { try await self.wait { $0.phase > .running && $0.session == nil } }
            defer { group.cancelAll() }
            try await group.next()
        }
        if self.phase == .draining { await self.untilJobsHaveEnded() }
        if self.phase == .stopping { self.endRunningJobs() }
    }

    /// A broker that only the project names is known once that is loaded; `nil` if the worker is asked to stop before.
    private func broker() async throws -> BrokerConfiguration? {
        if let broker = self.configuration.broker { return broker }
        try await self.wait { $0.settings != nil || $0.phase > .running }
        return self.settings?.broker
    }

    private func projectLoaded(_ manifest: Manifest) throws {
        let project = Project(manifest: manifest)
        let settings = try WorkerSettings(self.configuration, project: project)
        self.project = project
        self.settings = settings
        if settings.sendsTaskEvents { _ = self.events.enable(.task) }
        let mailbox = Mailbox(nodeName: self.nodeName, project: project)
        self.publisher.assumeIsolated {
            $0.configure(
                broker: settings.publishingBroker,
                exchanges: [
                    ExchangeDeclaration(name: mailbox.replyExchange, type: "direct", durable: false),
                    ExchangeDeclaration(name: project.eventExchange, type: "topic"),
                ]
            )
        }
        self.pool.assumeIsolated { $0.startWorkers(settings.concurrency) }
        self.stateChanges.send()
    }

    /// Serves one connection; returns when the worker has been asked to stop and may.
    private func consume(on connection: AMQPConnection) async throws {
        try await self.wait { $0.project != nil || $0.phase > .running }
        guard let project, self.phase <= .running else { return }
        var session = try await self.open(connection, project)
        self.session = session
        do {
            try await self.startConsumers(project)
            try await self.untilOver(session)
            session = self.session ?? session
            try await self.drain(session)
            self.session = nil
            self.stateChanges.send()
        } catch {
            self.sessionLost(epoch: session.epoch)
            throw error
        }
    }

    private func open(_ connection: AMQPConnection, _ project: Project) async throws -> Session {
        let tasks = try await connection.openChannel()
        let control = try await connection.openChannel()
        let prefetch = self.prefetchCount
        let isPerChannel = await self.prefetchIsPerChannel(connection, project)
        // Before the consumers start: for some brokers and queues it applies to new consumers alone.
        try await tasks.qos(prefetchCount: prefetch, isGlobal: isPerChannel)
        for queue in project.queues { try await tasks.declare(Topology(queue)) }
        try await self.prepareDelayedDelivery(on: connection, project)
        try await self.openMailbox(on: control)
        return Session(
            connection: connection,
            tasks: tasks,
            control: control,
            epoch: connection.epoch,
            prefetchCount: prefetch,
            prefetchIsPerChannel: isPerChannel
        )
    }

    /// RabbitMQ before 4.0 counts `global` prefetch per channel; quorum queues know none (`celery/worker/consumer/tasks.py`,
    /// `qos_global`; `kombu/transport/pyamqp.py`, `qos_semantics_matches_spec`).
    private func prefetchIsPerChannel(_ connection: AMQPConnection, _ project: Project) async -> Bool {
        if project.hasQuorumQueue, project.setting("worker_detect_quorum_queues")?.bool ?? true { return false }
        let properties = await connection.serverProperties
        guard properties["product"]?.string == "RabbitMQ", let version = properties["version"]?.string else {
            return false
        }
        let major = version.split(separator: ".").first.flatMap { Int($0) } ?? 0
        return major < 4
    }

    private func startConsumers(_ project: Project) async throws {
        guard let session = self.session else { return }
        for queue in project.queues {
            let tag = try await session.tasks.consume(
                queue: queue.name,
                noAck: queue.noAck,
                arguments: FieldTable(queue.consumerArguments),
                onEvent: { event in self.assumeIsolated { $0.consumerEvent(event) } }
            )
            self.session?.consumerTags[queue.name] = tag
        }
        if self.phase == .starting {
            self.phase = .running
            self.fire("worker_ready")
        }
        self.sendWorkerEvent(.workerOnline)
        ExecutableMemory.releaseStartupCode()
        self.stateChanges.send()
        self.logger.info(
            "ready",
            metadata: [
                LogKeys.node: "\(self.nodeName)",
                LogKeys.queues: "\(project.queues.map(\.name).joined(separator: ","))",
                LogKeys.prefetch: "\(session.prefetchCount)",
                LogKeys.celery: "\(project.manifest.celeryVersion)",
            ]
        )
    }

    private func consumerEvent(_ event: ConsumerEvent) {
        switch event {
        case .delivery(let delivery): self.received(delivery)
        case .cancelledByBroker(let tag):
            // The queue is gone or has moved: a new session declares it anew and finds out.
            self.logger.warning("the broker has cancelled a consumer", metadata: [LogKeys.queue: "\(tag)"])
            if var session = self.session {
                session.consumerTags = session.consumerTags.filter { $0.value != tag }
                self.session = session
            }
            self.stateChanges.send()
        case .closed: break
        }
    }

    /// Waits until the worker is asked to stop. Throws when the connection, the tasks' channel or a consumer is lost.
    private func untilOver(_ session: Session) async throws {
        let queueCount = self.project?.queues.count ?? 0
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await session.connection.closed() }
            group.addTask { try await session.tasks.closed() }
            group.addTask { try await session.control.closed() }
            group.addTask {
                try await self.wait { $0.phase > .running || ($0.session?.consumerTags.count ?? 0) < queueCount }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
        if self.phase <= .running {
            // The client connects anew, and the new session declares what is gone.
            throw AMQPError(.consumerCancelled, "the broker has ended a consumer; its queue is gone or has moved")
        }
    }

    private func sessionLost(epoch: UInt64) {
        self.session = nil
        let unstarted = self.pool.assumeIsolated { $0.withdrawAll() }
        self.ledger.connectionLost(epoch: epoch, unstarted: unstarted)
        self.statistics.connectionsLost += 1
        self.stateChanges.send()
    }

    /// The prefetch count rises with each message that waits for its `eta`, so that those don't keep others away
    /// (`celery/worker/strategy.py`, `kombu/common.py`).
    func updatePrefetch() {
        let count = self.prefetchCount
        guard let session = self.session, session.prefetchIsPerChannel, session.prefetchCount != count else { return }
        self.session?.prefetchCount = count
        self.background { worker in
            guard worker.session?.epoch == session.epoch, worker.session?.prefetchCount == count else { return }
            do {
                try await session.tasks.qos(prefetchCount: count, isGlobal: true)
            } catch {
                // The channel is gone, and the next one starts with the right count.
                worker.logger.debug("prefetch count not changed", metadata: [LogKeys.error: "\(error)"])
            }
        }
    }
}

extension Topology {
    /// What a queue needs declared before it is consumed: its exchange, itself, its bindings (`kombu/entity.py`, `Queue.declare`).
    init(_ queue: QueueSpecification) {
        self.init()
        guard !queue.noDeclare else { return }
        for exchange in queue.bindings.compactMap(\.exchange) where exchange.isDeclarable {
            self.exchanges.append(
                ExchangeDeclaration(
                    name: exchange.name,
                    type: exchange.type,
                    isPassive: exchange.passive,
                    durable: exchange.durable,
                    autoDelete: exchange.autoDelete,
                    arguments: FieldTable(exchange.arguments)
                )
            )
        }
        self.queues.append(
            QueueDeclaration(
                name: queue.name,
                durable: queue.durable,
                exclusive: queue.exclusive,
                autoDelete: queue.autoDelete,
                arguments: FieldTable(queue.queueArguments)
            )
        )
        for binding in queue.bindings {
            // The default exchange binds every queue by itself, and allows no other binding.
            guard let exchange = binding.exchange, !exchange.name.isEmpty else { continue }
            self.bindings.append(
                BindingDeclaration(
                    destination: .queue(queue.name),
                    source: exchange.name,
                    routingKey: binding.routingKey,
                    arguments: FieldTable(binding.arguments)
                )
            )
        }
    }
}
