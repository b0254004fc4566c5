import Glibc
import Logging
public import NIOCore

/// A call of the main process that has no answer yet.
struct PendingCall {
    var completion: @Sendable (Result<ByteBuffer, any Error>) -> Void
    /// Rings when the answer is no longer waited for.
    var deadline: Scheduled<Void>
    /// `nil` for what another process does for the main one.
    var startedAt: UInt64?
}

/// Whether the main process, which does one thing after the other, comes back from code of the user's.
enum MainWatch {
    case fine
    /// It has been asked where it is.
    case asked
    /// The log says where it is, or that it doesn't answer.
    case told
}

extension PythonPool {
    /// Has the main process do something: `ping`, `signal`, `decode_body`, `control`, or `backend.*`, which runs in a
    /// process of its own.
    ///
    /// - Parameters:
    ///   - arguments: JSON; `armada_agent/runtime/calls.py` says what each method takes.
    ///   - deadline: After this the answer is not waited for. A `backend.*` call that fails, or hangs for a third of it, is made again until
    ///     then, after pauses of up to ten seconds, forty times at the most.
    /// - Returns: JSON.
    /// - Throws: ``PoolError``
    public func call(_ method: String, _ arguments: ByteBuffer, deadline: Duration) async throws -> ByteBuffer {
        try await withCheckedThrowingContinuation { continuation in
            startCall(method, arguments, deadline: deadline) { continuation.resume(with: $0) }
        }
    }

    /// As ``call(_:_:deadline:)``, for callers whose calls are to be made in the order in which they ask for them.
    ///
    /// - Parameter completion: is called once, on the event loop, with the answer or a ``PoolError``.
    public func startCall(
        _ method: String,
        _ arguments: ByteBuffer,
        deadline: Duration,
        completion: @escaping @Sendable (Result<ByteBuffer, any Error>) -> Void
    ) {
        guard phase == .idle || phase == .running || phase == .draining else {
            return completion(.failure(PoolError.notRunning))
        }
        lastCall &+= 1
        let id = lastCall
        let timer = eventLoop.scheduleTask(in: deadline.timeAmount + .milliseconds(200)) {
            self.assumeIsolated { pool in
                pool.answered(id, .failure(PoolError.deadlineExceeded(method: method)))
            }
        }
        // The clerk makes these, and tries them again.
        let startedAt = method.hasPrefix("backend.") ? nil : System.now
        calls[id] = PendingCall(completion: completion, deadline: timer, startedAt: startedAt)
        watchMain()
        sendControl(.call) { frame in
            frame.writeInteger(id, endianness: .little)
            let milliseconds = deadline.nanoseconds / 1_000_000
            frame.writeInteger(UInt32(clamping: milliseconds), endianness: .little)
            frame.writeInteger(UInt16(truncatingIfNeeded: method.utf8.count), endianness: .little)
            frame.writeString(method)
            frame.writeImmutableBuffer(arguments)
        }
    }

    func answered(_ id: UInt64, _ result: Result<ByteBuffer, any Error>) {
        guard let call = calls.removeValue(forKey: id) else { return }
        call.deadline.cancel()
        call.completion(result)
    }

    // MARK: The main process that is held up

    /// Sees to it that the main process is asked where it is, should it not do what it was just told to. One timer for all, since next to nothing takes long.
    func watchMain() {
        guard mainTimer == nil, configuration.answerDeadline < .seconds(86_400) else { return }
        mainTimer = eventLoop.scheduleTask(in: configuration.answerDeadline.timeAmount) {
            self.assumeIsolated { $0.lookAtMain() }
        }
    }

    private func lookAtMain() {
        mainTimer = nil
        guard phase == .running || phase == .draining, let main, let since = owedSince else {
            mainWatch = .fine
            return
        }
        let isLate = since &+ configuration.answerDeadline.nanoseconds <= System.now
        switch mainWatch {
        case _ where !isLate: mainWatch = .fine
        case .fine:
            mainWatch = .asked
            _ = Glibc.kill(main.pid, SIGUSR1)
        case .asked:
            mainWatch = .told
            logger.warning(
                """
                The Python main process answers no call, and forks no worker, and does not say why: look for what hangs in a \
                signal's receiver or a control command
                """
            )
        case .told: break
        }
        watchMain()
    }

    /// Since when the main process owes an answer, or a worker.
    private var owedSince: UInt64? {
        let forks = machine.workers.compactMap { worker -> UInt64? in
            guard worker.pid == 0, case .starting(let deadline) = worker.phase, deadline != .max else { return nil }
            return deadline &- machine.limits.readyDeadline
        }
        return (calls.values.compactMap(\.startedAt) + forks).min()
    }

    func heldUp(_ function: String, _ place: String) {
        mainWatch = .told
        logger.warning(
            "The Python main process is held up: until this function returns it answers no call and forks no worker",
            metadata: [LogKeys.function: "\(function)", LogKeys.place: "\(place)"]
        )
    }
}
