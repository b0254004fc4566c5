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
        await self.finishRunningJobs()
    }

    /// A broker that only the project names is known once that is loaded; `nil` if the worker is asked to stop before.
    private func broker() async throws -> BrokerConfiguration? {
        if let broker = self.configuration.broker { return broker }
        try await self.wait { $0.settings != nil || $0.phase > .running }
        return self.settings?.broker
    }

    private func projectLoaded(_ manifest: Manifest) async throws {
        let project = Project(manifest: manifest)
        let settings = try WorkerSettings(self.configuration, project: project)
        self.settings = settings
        if let path = settings.stateFile { await self.restoreState(from: path) }
        self.begin(project, settings)
    }

    private func begin(_ project: Project, _ settings: WorkerSettings) {
        self.project = project
        if settings.sendsTaskEvents { _ = self.events.enable(.task) }
        self.autoscaler = settings.autoscale.map { Autoscaler(bounds: $0, keepAlive: settings.autoscaleKeepAlive) }
        self.limitRates()
        let mailbox = Mailbox(nodeName: self.nodeName, project: project)
        self.publisher.assumeIsolated {
            $0.configure(
                broker: settings.publishingBroker,
                exchanges: [
                    ExchangeDeclaration(name: mailbox.exchange, type: "fanout", durable: false),
                    ExchangeDeclaration(name: mailbox.replyExchange, type: "direct", durable: false),
                    ExchangeDeclaration(name: project.eventExchange, type: "topic"),
                ]
            )
        }
        self.pool.assumeIsolated { $0.startWorkers(settings.concurrency, readyDeadline: settings.readyDeadline) }
        self.stateChanges.send()
    }

    /// The project's modules were loaded anew (`pool_restart`): its tasks may have changed, its queues have not.
    func projectReloaded(_ manifest: Manifest) {
        guard var project else { return }
        project.manifest = manifest
        project.registry = TaskRegistry(tasks: manifest.tasks, acceptContent: manifest.acceptContent)
        self.project = project
        self.limitRates()
    }

    /// Serves one connection; returns when the worker has been asked to stop and may.
    ///
    /// The broker closes a channel for one thing that it can't do (a queue that is there with other arguments, a message held for longer than its `consumer_timeout`):
    /// that ends the session, and the next one begins on the same connection.
    private func consume(on connection: AMQPConnection) async throws {
        try await self.wait { $0.project != nil || $0.phase > .running }
        var failures = 0
        while self.project != nil, self.phase <= .running {
            let start = ContinuousClock.now
            do {
                return try await self.runSession(on: connection)
            } catch let error as AMQPError {
                guard !(await connection.hasEnded), self.phase <= .running else { throw error }
                if self.phase == .starting, let problem = ConfigurationProblem(refusal: error) { throw problem }
                failures = start.duration(to: .now) < .seconds(5) ? failures + 1 : 1
                try await self.pause(after: error, failures: failures)
            }
        }
    }

    private func pause(after error: AMQPError, failures: Int) async throws {
        let policy = self.settings?.broker.recovery ?? RecoveryPolicy()
        let delay = failures == 1 ? 0 : policy.delay(failures: failures - 1, chance: Double.random(in: 0...1))
        self.logger.error(
            "the broker has closed a channel: it is opened anew",
            metadata: [
                LogKeys.error: "\(error)", LogKeys.attempt: "\(failures)",
                LogKeys.retryIn: "\((delay * 10).rounded() / 10)",
            ]
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await Task.sleep(for: .seconds(delay)) }
            group.addTask { try await self.wait { $0.phase > .running } }
            try await group.next()
            group.cancelAll()
        }
    }

    private func runSession(on connection: AMQPConnection) async throws {
        let tasks = try await connection.openChannel()
        let control = try await connection.openChannel()
        self.session = Session(
            connection: connection,
            tasks: tasks,
            control: control,
            source: DeliverySource(epoch: connection.epoch, channel: tasks.id),
            prefetchCount: self.prefetchCount,
            prefetchIsPerChannel: await self.prefetchIsPerChannel(connection)
        )
        do {
            try await self.open(project)
            try await self.startConsumers()
            try await self.untilOver()
            if let session { try await self.drain(session) }
            self.session = nil
            self.stateChanges.send()
        } catch {
            let source = DeliverySource(epoch: connection.epoch, channel: tasks.id)
            self.sessionLost(source)
            for channel in [tasks, control] { try? await channel.close() }
            throw error
        }
    }

    /// Declares what is consumed from, and opens this node's mailbox.
    private func open(_ project: Project?) async throws {
        guard let session, let project else { return }
        // Before the consumers start: for some brokers and queues it applies to new consumers alone.
        try await session.tasks.qos(prefetchCount: session.prefetchCount, isGlobal: session.prefetchIsPerChannel)
        for queue in project.queues { try await session.tasks.declare(Topology(queue)) }
        try await self.prepareDelayedDelivery(on: session.connection, project)
        try await self.purgeQueues(project, on: session.tasks)
        try await self.startGossip(over: session.connection, project)
        try await self.openMailbox(on: session.control)
    }

    /// `--purge`, before the first message is taken.
    private func purgeQueues(_ project: Project, on channel: AMQPChannel) async throws {
        guard self.configuration.purgesQueues, self.phase == .starting else { return }
        var count: UInt32 = 0
        for queue in project.queues { count += try await channel.purge(queue.name) }
        self.logger.warning("messages erased (--purge)", metadata: [LogKeys.size: "\(count)"])
    }

    /// RabbitMQ before 4.0 counts `global` prefetch per channel; quorum queues know none (`celery/worker/consumer/tasks.py`,
    /// `qos_global`; `kombu/transport/pyamqp.py`, `qos_semantics_matches_spec`).
    private func prefetchIsPerChannel(_ connection: AMQPConnection) async -> Bool {
        if let project, project.hasQuorumQueue, project.setting("worker_detect_quorum_queues")?.bool ?? true {
            return false
        }
        let properties = await connection.serverProperties
        guard properties["product"]?.string == "RabbitMQ", let version = properties["version"]?.string else {
            return false
        }
        let major = version.split(separator: ".").first.flatMap { Int($0) } ?? 0
        return major < 4
    }

    private func startConsumers() async throws {
        // Before the first task's events, as Celery (`celery/worker/consumer/heart.py` comes before `tasks.py`).
        self.sendWorkerEvent(.workerOnline)
        for queue in self.project?.queues ?? [] { try await self.consume(queue) }
        guard let session, let project else { return }
        if self.phase == .starting {
            self.phase = .running
            self.fireReady()
        }
        self.mingle()
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

    /// Receivers of `worker_ready` count on workers that have been initialized.
    private func fireReady() {
        guard self.listens(to: "worker_ready") else { return }
        self.background { worker in
            try? await worker.wait { worker in
                worker.phase > .running
                    || worker.pool.assumeIsolated { $0.workers.allSatisfy { $0.state != .starting } }
            }
            worker.fire("worker_ready")
        }
    }

    /// Starts a consumer of a queue.
    private func consume(_ queue: QueueSpecification) async throws {
        guard let session else { return }
        let tag = try await session.tasks.consume(
            queue: queue.name,
            noAck: queue.noAck,
            arguments: FieldTable(queue.consumerArguments),
            onEvent: { event in self.assumeIsolated { $0.consumerEvent(event, from: queue.name) } }
        )
        guard self.session?.source == session.source else { return }
        self.session?.consumerTags[queue.name] = tag
    }

    /// Consumes one more queue (`add_consumer`). What the broker refuses harms no other: it is declared over a channel of its own.
    func startConsuming(_ queue: QueueSpecification) async throws {
        guard self.project?.queues.contains(where: { $0.name == queue.name }) == false else { return }
        guard let session else {
            // The next session consumes it.
            self.project?.queues.append(queue)
            return
        }
        try await session.connection.withChannel { try await $0.declare(Topology(queue)) }
        try await self.consume(queue)
        self.project?.queues.append(queue)
        self.logger.info("started consuming", metadata: [LogKeys.queue: "\(queue.name)"])
    }

    /// Replaces each consumer by a new one, to which the present prefetch count applies. The old one goes last, so that there is always one.
    func renewConsumers() async throws {
        guard let session else { return }
        for queue in self.project?.queues ?? [] {
            guard let old = self.session?.consumerTags[queue.name] else { continue }
            try await self.consume(queue)
            try await session.tasks.cancel(consumerTag: old)
        }
    }

    /// Consumes a queue no more (`cancel_consumer`).
    func stopConsuming(_ queue: String) async throws {
        self.project?.queues.removeAll { $0.name == queue }
        guard let session, let tag = self.session?.consumerTags.removeValue(forKey: queue) else { return }
        try await session.tasks.cancel(consumerTag: tag)
        self.logger.info("no longer consuming", metadata: [LogKeys.queue: "\(queue)"])
    }

    private func consumerEvent(_ event: ConsumerEvent, from queue: String) {
        switch event {
        case .delivery(let delivery): self.received(delivery, from: queue)
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

    /// Waits until the worker is asked to stop. Throws when the connection, a channel or a consumer is lost.
    private func untilOver() async throws {
        guard let session else { return }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await session.connection.closed() }
            group.addTask { try await session.tasks.closed() }
            group.addTask { try await session.control.closed() }
            group.addTask { try await self.wait { $0.phase > .running || !$0.consumesAllQueues } }
            defer { group.cancelAll() }
            try await group.next()
        }
        if self.phase <= .running {
            // A new session declares what is gone.
            throw AMQPError(.consumerCancelled, "the broker has ended a consumer; its queue is gone or has moved")
        }
    }

    private var consumesAllQueues: Bool {
        guard let session, let project else { return false }
        return project.queues.allSatisfy { session.consumerTags[$0.name] != nil }
    }

    private func sessionLost(_ source: DeliverySource) {
        self.session = nil
        let unstarted = self.pool.assumeIsolated { $0.withdrawAll() }
        self.ledger.sourceLost(source, unstarted: unstarted)
        self.rates.removeAll { self.ledger[$0] == nil }
        self.statistics.connectionsLost += 1
        if self.settings?.cancelsTasksOnConnectionLoss == true {
            for job in self.ledger.jobs.values where job.delivery == .lost { self.cancel(job, tellsRetry: true) }
        }
        self.stateChanges.send()
    }
}

extension ConfigurationProblem {
    /// A queue or an exchange that the broker has with other properties than the project's, or does not let this user have: waiting mends neither.
    fileprivate init?(refusal error: AMQPError) {
        guard error.code == .channelClosedByBroker, let reply = error.reply, [403, 406].contains(reply.replyCode) else {
            return nil
        }
        self.init(
            setting: "task_queues",
            found: "the broker's refusal: \(reply)",
            expected: "queues and exchanges as the broker has them, which this user may configure, write and read"
        )
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
