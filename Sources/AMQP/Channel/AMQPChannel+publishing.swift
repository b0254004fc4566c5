import NIOCore

extension AMQPChannel {
    /// Publishes without asking for a confirm.
    /// - Throws: ``AMQPError`` with ``AMQPError/Code/blocked`` while the broker accepts no messages, or the socket none; the message is not sent then.
    public func publish(_ message: Message) throws(AMQPError) {
        if let closeError { throw closeError }
        try self.checkAcceptance()
        if self.confirms != nil { _ = self.confirms?.published(waiter: self.nextWaiter()) }
        self.connection.assumeIsolated { $0.send(message, channel: self.number) }
    }

    private func checkAcceptance() throws(AMQPError) {
        let (blockedReason, isWritable) = self.connection.assumeIsolated { ($0.blockedReason, $0.isWritable) }
        if let blockedReason { throw AMQPError(.blocked, blockedReason) }
        guard isWritable else { throw AMQPError(.blocked, "the socket takes no more for now") }
    }

    /// Has the broker confirm messages from now on.
    public func confirmSelect() async throws {
        guard self.confirms == nil else { return }
        _ = try await self.request(.confirmSelect(noWait: false), reply: Method.ID(85, 11))
    }

    /// Publishes and waits for the broker's word. While ``outstandingLimit`` messages wait, or the broker or the socket accepts none, this waits for its turn.
    ///
    /// A cancelled wait leaves the message sent, and its fate unknown.
    /// - Throws: ``AMQPError`` when the channel ends first; ``confirmSelect()`` must have been called.
    public func publishConfirmed(_ message: Message) async throws -> PublishResult {
        guard self.confirms != nil else { throw AMQPError(.limit, "confirmSelect() was not called on this channel") }
        self.demandReading()
        defer { self.endReadingDemand() }
        while try self.mustWait { try await self.room() }
        let id = self.nextWaiter()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                if Task.isCancelled {
                    // The room that it was given is another's.
                    self.makeRoom()
                    return continuation.resume(throwing: CancellationError())
                }
                if let closeError { return continuation.resume(throwing: closeError) }
                // Numbered in the step in which it is written, so that no answer can come before its waiter.
                self.confirmWaiters.insert(continuation, id)
                _ = self.confirms?.published(waiter: id, identity: message.isMandatory ? message.identity : nil)
                self.connection.assumeIsolated { $0.send(message, channel: self.number) }
            }
        } onCancel: {
            self.eventLoop.execute {
                self.assumeIsolated { $0.confirmWaiters.cancel(id) }
            }
        }
    }

    private var mustWait: Bool {
        get throws {
            if let closeError { throw closeError }
            if (self.confirms?.count ?? 0) >= self.outstandingLimit { return true }
            do throws(AMQPError) {
                try self.checkAcceptance()
                return false
            } catch {
                self.connection.assumeIsolated { $0.awaitAcceptance(channel: self.number) }
                return true
            }
        }
    }

    /// As many of those who wait look again as there is room for, the oldest first.
    func makeRoom() {
        guard !self.roomWaiters.isEmpty else { return }
        self.roomWaiters.resumeOldest(self.outstandingLimit - (self.confirms?.count ?? 0), .success(()))
    }

    private func room() async throws {
        let id = self.nextWaiter()
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                if Task.isCancelled { return continuation.resume(throwing: CancellationError()) }
                if let closeError { return continuation.resume(throwing: closeError) }
                self.roomWaiters.insert(continuation, id)
            }
        } onCancel: {
            self.eventLoop.execute {
                self.assumeIsolated { $0.roomWaiters.cancel(id) }
            }
        }
    }

    /// Calls `handler` on the event loop with each mandatory message that came back and that nobody waits for.
    public func onReturn(_ handler: @escaping @Sendable (ReturnedMessage) -> Void) { self.returnHandler = handler }

    func returned(_ message: ReturnedMessage) {
        if self.confirms?.returned(message, identity: message.message.identity) != true { self.returnHandler?(message) }
    }

    func confirmed(_ tag: UInt64, isMultiple: Bool, isAcknowledged: Bool) throws(AMQPError) {
        guard let outcomes = try self.confirms?.settled(tag, isMultiple: isMultiple, isAcknowledged: isAcknowledged)
        else {
            throw .syntax("a confirm on a channel that has not asked for any")
        }
        for outcome in outcomes {
            let result: PublishResult =
                if !outcome.isAcknowledged { .refused } else if let returned = outcome.returned {
                    .returned(returned)
                } else {
                    .acknowledged
                }
            self.confirmWaiters.resume(outcome.waiter, .success(result))
        }
        if !outcomes.isEmpty { self.makeRoom() }
    }
}

extension Message {
    /// Tells messages of different content apart; equal ones may stand for one another.
    fileprivate var identity: Int {
        var hasher = Hasher()
        hasher.combine(self.exchange)
        hasher.combine(self.routingKey)
        hasher.combine(self.properties.messageID)
        hasher.combine(self.properties.correlationID)
        hasher.combine(self.properties.headers?.encoded)
        hasher.combine(self.body)
        return hasher.finalize()
    }
}
