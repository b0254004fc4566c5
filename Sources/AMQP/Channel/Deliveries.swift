import DequeModule
import NIOCore
import Synchronization

/// A consumer's messages, at the pace at which they are taken: when as many wait as were asked for, nothing more is read from the socket.
///
/// Can be iterated once. Where the iteration is left, or its task cancelled, the consumer is ended, and what was not taken goes back to its queue.
/// Throws ``AMQPError`` when the broker ends the consumer, or the channel or connection is lost; ends when it is closed by its user.
public struct Deliveries: AsyncSequence, Sendable {
    typealias Producer = NIOThrowingAsyncSequenceProducer<
        Delivery, any Error, NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark, Delegate
    >

    public let consumerTag: String
    let sequence: Producer
    let progress: Progress

    public struct Iterator: AsyncIteratorProtocol {
        var inner: Producer.AsyncIterator
        let progress: Progress

        @concurrent
        public mutating func next() async throws -> Delivery? {
            let delivery = try await self.inner.next()
            if let delivery { self.progress.taken(delivery.deliveryTag) }
            return delivery
        }
    }

    public func makeAsyncIterator() -> Iterator {
        Iterator(inner: self.sequence.makeAsyncIterator(), progress: self.progress)
    }

    /// How far the iteration has come.
    final class Progress: Sendable {
        private let lastTag = Atomic<UInt64>(0)

        /// Tags of a channel only grow.
        var last: UInt64 { self.lastTag.load(ordering: .acquiring) }

        func taken(_ tag: UInt64) { self.lastTag.store(tag, ordering: .releasing) }
    }

    struct Delegate: NIOAsyncSequenceProducerDelegate {
        let channel: AMQPChannel
        let tag: String

        func produceMore() {
            self.channel.eventLoop.execute { self.channel.assumeIsolated { $0.resumeFlow(self.tag) } }
        }

        func didTerminate() {
            self.channel.eventLoop.execute { self.channel.assumeIsolated { $0.giveUpFlow(self.tag) } }
        }
    }
}

extension AMQPChannel {
    /// What fills a ``Deliveries``.
    struct Flow {
        let source: Deliveries.Producer.Source
        let progress: Deliveries.Progress
        let noAck: Bool
        /// Handed over, and perhaps not taken yet.
        var tags = Deque<UInt64>()
        var isPaused = false
        /// No more is wanted, so it holds up nothing.
        var isEnding = false
    }

    /// Starts a consumer whose messages are taken by demand.
    ///
    /// As long as `buffer` messages wait to be taken, nothing more is read from the socket, which holds up the whole connection, except while a
    /// request or a confirmed message on it waits for the broker's word: then what comes is kept. Heartbeats go on in any case. ``qos(prefetchCount:isGlobal:)``
    /// bounds what can come.
    /// - Parameter buffer: how many messages may wait; at least 1.
    public func consume(
        queue: String,
        consumerTag: String? = nil,
        noAck: Bool = false,
        isExclusive: Bool = false,
        arguments: FieldTable = [:],
        buffer: Int = 64
    ) async throws -> Deliveries {
        let tag = consumerTag ?? self.newConsumerTag()
        guard self.consumers[tag] == nil, self.flows[tag] == nil else { throw Self.taken(tag) }
        let progress = Deliveries.Progress()
        let high = Swift.max(buffer, 1)
        let made = Deliveries.Producer.makeSequence(
            elementType: Delivery.self,
            failureType: (any Error).self,
            backPressureStrategy: .init(lowWatermark: Swift.max(high / 2, 1), highWatermark: high),
            finishOnDeinit: false,
            delegate: Deliveries.Delegate(channel: self, tag: tag)
        )
        self.flows[tag] = Flow(source: made.source, progress: progress, noAck: noAck)
        do {
            _ = try await self.consume(
                queue: queue,
                consumerTag: tag,
                noAck: noAck,
                isExclusive: isExclusive,
                arguments: arguments
            ) { event in
                self.assumeIsolated { $0.flow(tag, event) }
            }
        } catch {
            made.source.finish()
            throw error
        }
        return Deliveries(consumerTag: tag, sequence: made.sequence, progress: progress)
    }

    private func flow(_ tag: String, _ event: ConsumerEvent) {
        switch event {
        case .delivery(let delivery):
            guard let flow = self.flows[tag] else { return self.giveBack([delivery.deliveryTag]) }
            if !flow.noAck {
                let last = flow.progress.last
                while let first = self.flows[tag]?.tags.first, first <= last { self.flows[tag]?.tags.removeFirst() }
                self.flows[tag]?.tags.append(delivery.deliveryTag)
            }
            switch flow.source.yield(delivery) {
            case .produceMore, .dropped: break
            case .stopProducing: self.pauseFlow(tag)
            }
        case .cancelledByBroker:
            self.endFlow(tag, AMQPError(.consumerCancelled, "the queue of consumer '\(tag)' is gone or has moved"))
        case .closed(let error): self.endFlow(tag, error.code == .closed ? nil : error)
        }
    }

    private func pauseFlow(_ tag: String) {
        guard let flow = self.flows[tag], !flow.isPaused, !flow.isEnding else { return }
        self.flows[tag]?.isPaused = true
        self.connection.assumeIsolated { $0.pauseReading() }
    }

    fileprivate func resumeFlow(_ tag: String) {
        guard self.flows[tag]?.isPaused == true else { return }
        self.flows[tag]?.isPaused = false
        self.connection.assumeIsolated { $0.resumeReading() }
    }

    /// Nothing is held up any more: what comes is wanted for its end.
    func releaseFlow(_ tag: String) {
        self.flows[tag]?.isEnding = true
        self.resumeFlow(tag)
    }

    /// Those who iterate get what has come, then the end.
    func endFlow(_ tag: String, _ error: AMQPError?) {
        self.releaseFlow(tag)
        guard let source = self.flows[tag]?.source else { return }
        if let error { source.finish(error) } else { source.finish() }
    }

    /// Nobody iterates any more.
    fileprivate func giveUpFlow(_ tag: String) {
        self.resumeFlow(tag)
        guard let flow = self.flows.removeValue(forKey: tag) else { return }
        if self.consumers[tag]?.onEvent != nil {
            self.consumers[tag]?.onEvent = nil
            self.write(.basicCancel(consumerTag: tag, noWait: true))
        }
        let last = flow.progress.last
        self.giveBack(flow.tags.filter { $0 > last })
    }

    private func giveBack(_ tags: [UInt64]) {
        for tag in tags where self.unsettled.remove(tag) != nil {
            self.write(.basicReject(deliveryTag: tag, requeue: true))
        }
    }
}
