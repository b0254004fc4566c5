extension AMQPChannel {
    /// Declares a queue; with a passive declaration, asks whether it is there.
    /// - Returns: its name, which the broker may have chosen, and its counts.
    /// - Throws: ``AMQPError``; a queue of other properties closes the channel with 406, a missing one with 404.
    @discardableResult
    public func declare(_ queue: QueueDeclaration) async throws -> DeclaredQueue {
        let reply = try await self.request(.queueDeclare(queue, noWait: false), reply: Method.ID(50, 11))
        guard case .queueDeclareOk(let declared) = reply else { throw Self.unexpected(reply) }
        return declared
    }

    public func declare(_ exchange: ExchangeDeclaration) async throws {
        _ = try await self.request(.exchangeDeclare(exchange, noWait: false), reply: Method.ID(40, 11))
    }

    public func bind(_ binding: BindingDeclaration) async throws {
        switch binding.destination {
        case .queue(let name):
            _ = try await self.request(
                .queueBind(
                    queue: name,
                    exchange: binding.source,
                    routingKey: binding.routingKey,
                    arguments: binding.arguments,
                    noWait: false
                ),
                reply: Method.ID(50, 21)
            )
        case .exchange(let name):
            _ = try await self.request(
                .exchangeBind(
                    destination: name,
                    source: binding.source,
                    routingKey: binding.routingKey,
                    arguments: binding.arguments,
                    noWait: false
                ),
                reply: Method.ID(40, 31)
            )
        }
    }

    public func unbind(_ binding: BindingDeclaration) async throws {
        switch binding.destination {
        case .queue(let name):
            _ = try await self.request(
                .queueUnbind(
                    queue: name,
                    exchange: binding.source,
                    routingKey: binding.routingKey,
                    arguments: binding.arguments
                ),
                reply: Method.ID(50, 51)
            )
        case .exchange(let name):
            _ = try await self.request(
                .exchangeUnbind(
                    destination: name,
                    source: binding.source,
                    routingKey: binding.routingKey,
                    arguments: binding.arguments,
                    noWait: false
                ),
                reply: Method.ID(40, 51)
            )
        }
    }

    /// Declares exchanges, then queues, then bindings.
    public func declare(_ topology: Topology) async throws {
        for exchange in topology.exchanges { try await self.declare(exchange) }
        for queue in topology.queues { try await self.declare(queue) }
        for binding in topology.bindings { try await self.bind(binding) }
    }

    /// - Returns: how many messages the queue held.
    @discardableResult
    public func deleteQueue(_ name: String, ifUnused: Bool = false, ifEmpty: Bool = false) async throws -> UInt32 {
        let reply = try await self.request(
            .queueDelete(name: name, ifUnused: ifUnused, ifEmpty: ifEmpty, noWait: false),
            reply: Method.ID(50, 41)
        )
        guard case .queueDeleteOk(let count) = reply else { throw Self.unexpected(reply) }
        return count
    }

    public func deleteExchange(_ name: String, ifUnused: Bool = false) async throws {
        _ = try await self.request(
            .exchangeDelete(name: name, ifUnused: ifUnused, noWait: false),
            reply: Method.ID(40, 21)
        )
    }

    /// Drops a queue's messages, except those that are delivered and unsettled.
    /// - Returns: how many they were.
    @discardableResult
    public func purge(_ queue: String) async throws -> UInt32 {
        let reply = try await self.request(.queuePurge(name: queue, noWait: false), reply: Method.ID(50, 31))
        guard case .queuePurgeOk(let count) = reply else { throw Self.unexpected(reply) }
        return count
    }

    static func unexpected(_ reply: Method) -> AMQPError {
        .syntax("method \(reply.id.classID).\(reply.id.methodID) as an answer")
    }
}
