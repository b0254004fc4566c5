import DequeModule

/// The requests of a channel: one at a time is with the broker, and its answer must be one that fits (AMQP 0-9-1, 2.1.2). No I/O, no clock.
///
/// `Waiter` stands for whoever waits for an answer; each comes out exactly once.
struct ChannelMachine<Waiter: Sendable>: Sendable {
    private struct Request: Sendable {
        var method: Method
        var replies: Set<Method.ID>
        var waiter: Waiter
    }

    enum State: Sendable, Equatable {
        case open
        /// We have sent `channel.close`; everything but the answer is ignored.
        case closing
        case closed(AMQPError)
    }

    enum RequestAction: Sendable {
        case send(Method)
        /// It is sent when those before it have been answered.
        case wait
        case fail(Waiter, AMQPError)
    }

    enum ReplyAction: Sendable {
        /// With the request that was answered, and the one to send next.
        case resume(Waiter, Method, to: Method, next: Method?)
        /// No request of ours asks for this.
        case violation(AMQPError)
        case ignore
    }

    private(set) var state = State.open
    private var current: Request?
    private var queue = Deque<Request>()

    init() {}

    var isOpen: Bool { self.state == .open }

    /// Asks the broker for something.
    /// - Parameter replies: the methods that may answer.
    mutating func request(_ method: Method, replies: Set<Method.ID>, waiter: Waiter) -> RequestAction {
        switch self.state {
        case .closed(let error): return .fail(waiter, error)
        case .closing: return .fail(waiter, AMQPError(.closed, "this channel is closing"))
        case .open: break
        }
        let request = Request(method: method, replies: replies, waiter: waiter)
        if case .channelClose = method {
            // What is queued behind a close would never be answered; what is queued before it goes first.
            self.isCloseQueued = true
        } else if self.isCloseQueued {
            return .fail(waiter, AMQPError(.closed, "this channel is closing"))
        }
        guard self.current == nil else {
            self.queue.append(request)
            return .wait
        }
        return .send(self.start(request))
    }

    /// Whether a close is with the broker or goes there after what was asked before it.
    private(set) var isCloseQueued = false

    private mutating func start(_ request: Request) -> Method {
        self.current = request
        if case .channelClose = request.method { self.state = .closing }
        return request.method
    }

    /// An answer has come.
    mutating func received(_ reply: Method) -> ReplyAction {
        if case .closed = self.state { return .ignore }
        guard let current, current.replies.contains(reply.id) else {
            if self.state == .closing { return .ignore }
            let id = reply.id
            return .violation(.syntax("method \(id.classID).\(id.methodID) on a channel that has not asked for it"))
        }
        self.current = nil
        if self.state == .closing {
            self.state = .closed(AMQPError(.closed, "this channel was closed"))
            return .resume(current.waiter, reply, to: current.method, next: nil)
        }
        let next = self.queue.popFirst().map { self.start($0) }
        return .resume(current.waiter, reply, to: current.method, next: next)
    }

    /// The channel has ended. Returns all who still wait, in the order in which they asked.
    mutating func ended(_ error: AMQPError) -> [Waiter] {
        if case .closed = self.state {} else { self.state = .closed(error) }
        defer {
            self.current = nil
            self.queue.removeAll()
        }
        return (self.current.map { [$0] } ?? []).map(\.waiter) + self.queue.map(\.waiter)
    }
}
